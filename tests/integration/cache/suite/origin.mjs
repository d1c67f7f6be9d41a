// Starts the suite's origin server on a free port of the loopback interface, and prints the address.
//
//   node origin.mjs SUITE     SUITE is the folder of the package http-cache-tests
import http from 'node:http'
import { devNull } from 'node:os'

const [suite] = process.argv.slice(2)
const { listen } = http.Server.prototype
http.Server.prototype.listen = function () {
  return listen.call(this, 0, '127.0.0.1')
}
// The server reads its settings as npm would hand them over.
Object.assign(process.env, {
  npm_package_config_protocol: 'http',
  npm_package_config_port: '0',
  npm_package_config_pidfile: devNull
})
await import(`${suite}/server/server.mjs`)

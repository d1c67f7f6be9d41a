// Runs tests of the suite through a gateway, and prints a line of JSON with what came of each.
//
//   node client.mjs SUITE URL CHUNK [ID...]
//
// SUITE is the folder of the package http-cache-tests, URL the gateway, CHUNK how many tests run at the same time. With
// no ID all tests run. A test that has been corrected since is there twice: as it is published, and as ID/corrected.
import { createRequire } from 'node:module'

const [suite, url, chunk, ...ids] = process.argv.slice(2)
const fetch = createRequire(`${suite}/`)('node-fetch')
const { runTests, getResults } = await import(`${suite}/client/runner.mjs`)
const { default: suites } = await import(`${suite}/tests/index.mjs`)

// What the repository of the suite has changed since the package was published.
const isFresh = request => {
  // RFC 9111, 5.1: of several members the first counts, and what is no number is ignored.
  request.expected_type = 'cached'
}
const isAnError = request => {
  // As published, the test wants an answer of the origin, which has closed the connection without one.
  delete request.expected_type
  request.expected_status = 502
  request.check_body = false
  request.expected_response_headers_missing = ['server-request-count']
}
const corrections = {
  'age-parse-nonnumeric': isFresh,
  'age-parse-negative': isFresh,
  'age-parse-float': isFresh,
  'age-parse-prefix-twoline': isFresh,
  'age-parse-dup-0': isFresh,
  'age-parse-dup-0-twoline': isFresh,
  'age-parse-dup-old': isFresh,
  'stale-close-must-revalidate': isAnError,
  'stale-close-proxy-revalidate': isAnError,
  'stale-close-no-cache': isAnError,
  'stale-close-s-maxage=2': isAnError
}

// Those for browsers are about caches that are not shared.
const published = suites.flatMap(({ tests }) => tests).filter(test => !test.browser_only)
const corrected = published.filter(({ id }) => id in corrections).map(test => {
  const copy = structuredClone(test)
  copy.id = `${test.id}/corrected`
  corrections[test.id](copy.requests.at(-1))
  return copy
})
const all = [...published, ...corrected]
const chosen = ids.length === 0 ? all : all.filter(({ id }) => ids.includes(id))

await runTests([{ name: 'chosen', tests: chosen }], fetch, false, url, Number(chunk))
const results = getResults()
const report = chosen.map(({ id, kind = 'required' }) => {
  const failure = results[id] === true ? null : results[id].join(': ')
  return { id, kind, failure }
})
console.log(JSON.stringify(report))
// Connections that are kept open would keep it running.
process.exit()

;; Virtual WASI, preview 1: what the runtimes of Go and C ask of an operating system, answered inside of the component.
;; Files, arguments and the environment are empty. Output goes to the gateway's log, chance and the time of day come from
;; the gateway's virtual WASI 0.2. No handle outlives a call, so that a component can have an image.
;;
;; The monotonic clock only counts how often it was read, from one second on: Go reads it while it allocates inside of
;; `cabi_realloc`, where a component must not call out, and refuses a clock that says zero. Sleeping moves it forward.
;; A wait for longer than `$patience` is refused: the policy would wait for something that does not come.
(module
  (import "env" "memory" (memory 0))
  (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $get_stderr (result i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop_stream (param i32)))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall_now (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))

  (global $now (mut i64) (i64.const 1000000000))
  (global $patience i64 (i64.const 100000000))

  ;; Success, EBADF, ENOSYS and ENOTSUP.
  (global $ok i32 (i32.const 0))
  (global $badf i32 (i32.const 8))
  (global $nosys i32 (i32.const 52))
  (global $notsup i32 (i32.const 58))

  (func $zero2 (param $a i32) (param $b i32) (result i32)
    (i32.store (local.get $a) (i32.const 0))
    (i32.store (local.get $b) (i32.const 0))
    (global.get $ok))
  (func (export "args_get") (param i32 i32) (result i32) (global.get $ok))
  (func (export "args_sizes_get") (param i32 i32) (result i32) (call $zero2 (local.get 0) (local.get 1)))
  (func (export "environ_get") (param i32 i32) (result i32) (global.get $ok))
  (func (export "environ_sizes_get") (param i32 i32) (result i32) (call $zero2 (local.get 0) (local.get 1)))
  (func (export "sched_yield") (result i32) (global.get $ok))

  ;; A policy has no process to end. What it wrote before says why it wants to.
  (func (export "proc_exit") (param i32) unreachable)
  (func (export "proc_raise") (param i32) (result i32) (global.get $nosys))

  (func (export "clock_res_get") (param i32 i32) (result i32)
    (i64.store (local.get 1) (i64.const 1000000))
    (global.get $ok))
  (func (export "clock_time_get") (param $id i32) (param $precision i64) (param $to i32) (result i32)
    (local $low i64) (local $high i64)
    (if (i32.eqz (local.get $id))
      (then
        ;; The answer takes 16 bytes of memory, whose content is put back.
        (local.set $low (i64.load (i32.const 0)))
        (local.set $high (i64.load (i32.const 8)))
        (call $wall_now (i32.const 0))
        (i64.store (local.get $to)
          (i64.add
            (i64.mul (i64.load (i32.const 0)) (i64.const 1000000000))
            (i64.extend_i32_u (i32.load (i32.const 8)))))
        (i64.store (i32.const 0) (local.get $low))
        (i64.store (i32.const 8) (local.get $high)))
      (else
        (global.set $now (i64.add (global.get $now) (i64.const 1000)))
        (i64.store (local.get $to) (global.get $now))))
    (global.get $ok))

  (func (export "random_get") (param $to i32) (param $size i32) (result i32)
    (local $number i64) (local $left i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $size)))
        (if (i32.eqz (local.get $left))
          (then
            (local.set $number (call $random))
            (local.set $left (i32.const 8))))
        (i64.store8 (local.get $to) (local.get $number))
        (local.set $number (i64.shr_u (local.get $number) (i64.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $size (i32.sub (local.get $size) (i32.const 1)))
        (br $next)))
    (global.get $ok))

  ;; Standard output and standard error are the same, and go to the log.
  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $stream i32) (local $from i32) (local $left i32) (local $size i32) (local $total i32)
    (local $low i64) (local $high i64)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1))
      (then (return (global.get $badf))))
    (local.set $stream (call $get_stderr))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $from (i32.load (local.get $pieces)))
        (local.set $left (i32.load offset=4 (local.get $pieces)))
        (local.set $total (i32.add (local.get $total) (local.get $left)))
        (block $written
          (loop $more
            (br_if $written (i32.eqz (local.get $left)))
            ;; As much as a stream takes at once.
            (local.set $size
              (select (local.get $left) (i32.const 4096) (i32.lt_u (local.get $left) (i32.const 4096))))
            (local.set $low (i64.load (i32.const 0)))
            (local.set $high (i64.load (i32.const 8)))
            (call $write (local.get $stream) (local.get $from) (local.get $size) (i32.const 0))
            (i64.store (i32.const 0) (local.get $low))
            (i64.store (i32.const 8) (local.get $high))
            (local.set $from (i32.add (local.get $from) (local.get $size)))
            (local.set $left (i32.sub (local.get $left) (local.get $size)))
            (br $more)))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (call $drop_stream (local.get $stream))
    (i32.store (local.get $written) (local.get $total))
    (global.get $ok))

  ;; Every subscription is due at once, and the clock says so.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $due i32) (result i32)
    (local $left i32) (local $time i64)
    (local.set $left (local.get $count))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (i64.store (local.get $out) (i64.load (local.get $in)))
        (i64.store offset=8 (local.get $out) (i64.const 0))
        (i64.store offset=16 (local.get $out) (i64.const 0))
        (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
        (if (i32.load8_u offset=8 (local.get $in))
          ;; A file to read or to write, of which there is none.
          (then (i32.store16 offset=8 (local.get $out) (global.get $badf)))
          (else
            (local.set $time (i64.load offset=24 (local.get $in)))
            ;; A moment and not a duration.
            (if (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1))
              (then (local.set $time (i64.sub (local.get $time) (global.get $now)))))
            (if (i64.gt_s (local.get $time) (global.get $patience)) (then unreachable))
            (if (i64.gt_s (local.get $time) (i64.const 0))
              (then (global.set $now (i64.add (global.get $now) (local.get $time)))))))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $due) (local.get $count))
    (global.get $ok))

  ;; The three streams are character devices that take what is written; there are no other files.
  (func (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (global.get $badf))))
    (i64.store (local.get $to) (i64.const 2))
    (i64.store offset=8 (local.get $to) (i64.const 64))
    (i64.store offset=16 (local.get $to) (i64.const 0))
    (global.get $ok))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (global.get $ok))
  (func (export "fd_read") (param $fd i32) (param i32 i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (global.get $badf))))
    (i32.store (local.get $read) (i32.const 0))
    (global.get $ok))
  (func (export "fd_close") (param i32) (result i32) (global.get $ok))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (global.get $badf))
  (func (export "fd_datasync") (param i32) (result i32) (global.get $badf))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (global.get $badf))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (global.get $badf))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (global.get $badf))
  (func (export "fd_renumber") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (global.get $badf))
  (func (export "fd_sync") (param i32) (result i32) (global.get $badf))
  (func (export "fd_tell") (param i32 i32) (result i32) (global.get $badf))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (global.get $badf))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (global.get $badf))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (global.get $badf))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (global.get $notsup))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (global.get $notsup))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (global.get $notsup))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (global.get $notsup))
)

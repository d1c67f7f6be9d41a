use super::{check_code, rewrite};

#[test]
fn leaves_alone_what_it_could_not_put_back() {
    let module = |text: &str| {
        format!(
            r#"(component (core module $m {text}) (core instance $m (instantiate $m))
               (func (export "f") (canon lift (core func $m "f"))))"#
        )
    };
    let cases = [
        (module(r#"(func (export "f"))"#), "it has no memory"),
        (module(r#"(memory 1) (memory 1) (func (export "f"))"#), "it has more than one memory"),
        (module(r#"(memory i64 1) (func (export "f"))"#), "its memory is not of 32 bits"),
        (module(r#"(memory 1) (func $f (export "f")) (start $f)"#), "it has a start function"),
        (
            module(r#"(memory 1) (global (mut funcref) (ref.null func)) (func (export "f"))"#),
            "it has globals that refer to something",
        ),
        (
            module(
                r#"(memory 1) (table 1 funcref)
                   (func (export "f") (table.set (i32.const 0) (ref.null func)))"#,
            ),
            "its code changes tables",
        ),
        (module(r#"(memory 1) (data $d "x") (func (export "f") (data.drop $d))"#), "its code drops segments"),
        (
            r#"(component (core module $m (memory 1)) (core instance (instantiate $m))
                          (core instance (instantiate $m)))"#
                .to_owned(),
            "a module of it that has state is not instantiated once",
        ),
        (
            r#"(component
                (core module $m (memory (export "m") 1))
                (core module $n (import "" "m" (memory 1)) (data (i32.const 0) "x"))
                (core instance $m (instantiate $m))
                (core instance (instantiate $n (with "" (instance $m)))))"#
                .to_owned(),
            "a module of it fills a memory of another",
        ),
        (
            r#"(component
                (type $r (resource (rep i32)))
                (core func $new (canon resource.new $r))
                (core module $m (import "" "new" (func (param i32) (result i32))) (memory 1))
                (core instance (instantiate $m (with "" (instance (export "new" (func $new)))))))"#
                .to_owned(),
            "it keeps something outside its memory",
        ),
        (
            r#"(component (core module $m (memory 1)) (core instance (instantiate $m))
                (component (core module (memory 1))))"#
                .to_owned(),
            "it has modules inside nested components",
        ),
        (
            r#"(component (import "m" (core module $m)) (core instance (instantiate $m)))"#.to_owned(),
            "it imports modules",
        ),
    ];
    for (text, expected) in cases {
        let component = wat::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let reason = check_code(&component).and_then(|()| rewrite(&component).map(drop));
        assert_eq!(reason.map_err(|reason| reason.to_string()), Err(expected.to_owned()), "{text}");
    }
}

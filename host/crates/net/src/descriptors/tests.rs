use super::DescriptorShares;

#[test]
fn half_of_what_is_left_is_for_upstreams() {
    let check = |files, own, clients, streams| {
        assert_eq!(DescriptorShares::of(files, own), DescriptorShares { clients, streams }, "{files} {own}");
    };
    check(1024, 64, 480, 60);
    check(64, 34, 15, 1);
    check(1_048_576, 64, 524_256, 65_532);
    check(u64::MAX, 64, u32::MAX, u32::MAX / 8);
    // There has to be one, or nobody would ever be accepted.
    check(10, 64, 1, 1);
}

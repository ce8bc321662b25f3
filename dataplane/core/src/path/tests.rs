use super::*;

const MS: u64 = Time::MILLISECOND;

fn paths(number: u8, members: &[u8], spares: &[u8]) -> Paths {
    let mut paths = Paths::new(1420);
    paths.configure(&[set(number, members, spares)], |_, _| ());
    paths.candidates(9).for_each(|path| path.since = Some(Time(0)));
    paths
}

fn set(number: u8, members: &[u8], spares: &[u8]) -> PathSet {
    let specs = |ids: &[u8]| ids.iter().map(|&id| PathSpec { id, route: vec![20 + u16::from(id), 9] }).collect();
    PathSet { peer: 9, set: number, measured: true, spread_us: 0, paths: specs(members), spares: specs(spares) }
}

fn taken(paths: &mut Paths, number: u8) -> Vec<u8> {
    let mut ids = Vec::new();
    paths.each(9, Over::Set(number), |path| ids.push(path.id));
    ids
}

#[test]
fn a_silent_path_is_replaced_at_once_and_comes_back_late() {
    let mut paths = paths(1, &[0], &[1, 2]);
    paths.judge(9, 0b110, Time(100 * MS));
    assert_eq!(taken(&mut paths, 1), [0], "its first probe may be under way");
    paths.judge(9, 0b110, Time(600 * MS));
    assert_eq!((taken(&mut paths, 1), paths.used(9)), (vec![1], 0b10));
    paths.judge(9, 0b111, Time(700 * MS));
    paths.judge(9, 0b111, Time(10_600 * MS));
    assert_eq!(taken(&mut paths, 1), [1]);
    paths.judge(9, 0b111, Time(10_700 * MS));
    assert_eq!(taken(&mut paths, 1), [0]);
}

#[test]
fn a_path_that_flaps_stays_away() {
    let mut paths = paths(2, &[0, 1], &[2]);
    for second in 1..60 {
        paths.judge(9, if second % 2 == 0 { 0b111 } else { 0b110 }, Time(second * 1000 * MS));
        assert_eq!(taken(&mut paths, 2), [1, 2]);
    }
}

#[test]
fn without_a_better_one_a_silent_path_goes_on_being_used() {
    let mut paths = paths(2, &[0, 1], &[]);
    paths.judge(9, 0b01, Time(900 * MS));
    assert_eq!(taken(&mut paths, 2), [0, 1]);
    paths.judge(9, 0, Time(1200 * MS));
    assert_eq!((taken(&mut paths, 2), taken(&mut paths, 7)), (vec![0, 1], vec![0, 1]));
}

#[test]
fn counters_and_health_stay_with_the_route_and_a_new_meaning_of_an_id_is_told() {
    let mut paths = paths(1, &[0], &[1]);
    paths.each(9, Over::Set(1), |path| path.copies_sent = 5);
    paths.judge(9, 0b10, Time(900 * MS));
    let mut told = Vec::new();
    paths.configure(&[set(1, &[0], &[1])], |peer, id| told.push((peer, id)));
    assert_eq!((told.len(), taken(&mut paths, 1)), (0, vec![1]));
    let mut other = set(1, &[0], &[1]);
    other.spares[0].route = vec![77, 9];
    paths.configure(&[other], |peer, id| told.push((peer, id)));
    assert_eq!(told, [(9, 1)]);
    assert_eq!(paths.iter().map(|path| path.copies_sent).max(), Some(5));
}

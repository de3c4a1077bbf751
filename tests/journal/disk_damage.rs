//! Files that are not what was written.

use std::collections::BTreeMap;

use tower_sse::journal::disk::{Disk, Sync};
use tower_sse::journal::{Journal, Record};

use crate::sim::Machine;
use crate::support::{append, begin, find, open, owned, record, runtime, settings};

type Files = BTreeMap<String, Vec<u8>>;

const SEGMENT: &str = "0000000001.segment";

fn given() -> Vec<Record> {
    let blocks = |at| [format!("first of {at}"), format!("second of {at}")];
    let one = |at: u64| {
        let blocks = blocks(at);
        record(2 * at - 1, 0, &[&blocks[0], &blocks[1]])
    };
    (1..6).map(one).collect()
}

/// The files of a process that was killed after two streams had five records
/// each; of the first segment, where each frame ends.
async fn files() -> Files {
    let machine = Machine::new(1);
    let disk = open(&machine, Sync::Never);
    let (mut a, mut b) = (begin(&disk, "a"), begin(&disk, "b"));
    for record in given() {
        append(&mut a, record.clone()).await.unwrap();
        append(&mut b, record).await.unwrap();
    }
    machine.kill();
    machine.files()
}

/// What is found of both streams; whether all of it may be continued.
async fn look(files: &Files) -> Option<(usize, bool)> {
    let machine = Machine::with_files(files);
    let disk = Disk::open_in(settings(Sync::Never), machine.mount()).ok()?;
    let mut count = 0;
    let mut continuous = true;
    for stream in ["a", "b"] {
        let Some(mut kept) = find(&disk, stream).await else {
            continue;
        };
        assert_eq!(kept.records, given()[..kept.records.len()]);
        let (claimed, last) = owned(&mut kept.replica);
        assert_eq!(last, 2 * kept.records.len() as u64);
        continuous &= claimed;
        count += kept.records.len();
        // It goes on from there.
        let next = record(last + 1, 0, &["later"]);
        append(&mut kept.replica, next.clone()).await.unwrap();
        drop(kept);
        let again = find(&disk, stream).await.unwrap();
        assert_eq!(again.records.last(), Some(&next));
    }
    Some((count, continuous))
}

#[test]
fn a_tail_torn_anywhere_is_cut_to_whole_records() {
    runtime().block_on(async {
        let files = files().await;
        let whole = &files[SEGMENT];
        let mut most = 0;
        for len in 0..=whole.len() {
            let mut torn = files.clone();
            torn.insert(SEGMENT.to_owned(), whole[..len].to_vec());
            let (count, continuous) = look(&torn).await.unwrap();
            // A process that is killed leaves just this behind.
            assert!(continuous, "cut at {len}");
            assert!(count >= most, "cut at {len}");
            most = count;
        }
        assert_eq!(most, 10);
    });
}

#[test]
fn no_flipped_bit_is_believed() {
    runtime().block_on(async {
        let files = files().await;
        for at in 0..files[SEGMENT].len() {
            let mut flipped = files.clone();
            flipped.get_mut(SEGMENT).unwrap()[at] ^= 1 << (at % 8);
            let (count, continuous) = look(&flipped).await.unwrap();
            assert!(count < 10, "byte {at}");
            assert!(count == 0 || !continuous, "byte {at}");
        }
    });
}

#[test]
fn what_is_doubted_once_is_doubted_until_it_goes_on() {
    runtime().block_on(async {
        let mut files = files().await;
        *files.get_mut(SEGMENT).unwrap().last_mut().unwrap() ^= 1;
        let machine = Machine::with_files(&files);
        for _ in 0..3 {
            let disk = open(&machine, Sync::Never);
            let mut kept = find(&disk, "a").await.unwrap();
            assert_eq!(owned(&mut kept.replica), (false, 10));
            // This begins a segment, behind which the damage does not show.
            let mut other = begin(&disk, "other");
            append(&mut other, record(1, 0, &["x"])).await.unwrap();
            machine.kill();
        }
        let disk = open(&machine, Sync::Never);
        let mut kept = find(&disk, "a").await.unwrap();
        append(&mut kept.replica, record(11, 0, &["new"]))
            .await
            .unwrap();
        machine.kill();
        let disk = open(&machine, Sync::Never);
        let mut kept = find(&disk, "a").await.unwrap();
        assert_eq!(owned(&mut kept.replica), (true, 11));
        assert_eq!(kept.records.len(), 6);
    });
}

/// Three segments of one stream, of which the middle one is lost.
#[test]
fn a_missing_segment_leaves_no_hole() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let mut settings = settings(Sync::Never);
        settings.segment_bytes = 1 << 10;
        let disk = Disk::open_in(settings.clone(), machine.mount()).unwrap();
        let filler = "x".repeat(400);
        let mut replica = begin(&disk, "a");
        let mut quiet = begin(&disk, "b");
        append(&mut quiet, record(1, 0, &["only"])).await.unwrap();
        for at in 1..=6 {
            append(&mut replica, record(at, 0, &[&filler]))
                .await
                .unwrap();
        }
        machine.kill();
        let mut files = machine.files();
        assert!(files.len() >= 5, "{:?}", files.keys());
        files.remove("0000000002.segment").unwrap();
        let machine = Machine::with_files(&files);
        for _ in 0..2 {
            let disk = Disk::open_in(settings.clone(), machine.mount()).unwrap();
            let mut kept = find(&disk, "a").await.unwrap();
            // Its end is there, so it may go on; its beginning is not.
            let first = kept.records[0].batch.first;
            assert!(first > 2, "{first}");
            assert_eq!(owned(&mut kept.replica), (true, 6));
            // Of this one nothing shows that its end is.
            let mut kept = find(&disk, "b").await.unwrap();
            assert_eq!(owned(&mut kept.replica), (false, 1));
            machine.kill();
        }
    });
}

/// What a file system puts behind the end of a file after a loss of power may
/// have been good elsewhere.
#[test]
fn a_frame_of_another_segment_is_none() {
    runtime().block_on(async {
        let machine = Machine::new(1);
        let mut settings = settings(Sync::Never);
        settings.segment_bytes = 1 << 10;
        let disk = Disk::open_in(settings.clone(), machine.mount()).unwrap();
        let filler = "x".repeat(400);
        let mut replica = begin(&disk, "a");
        for at in 1..=6 {
            append(&mut replica, record(at, 0, &[&filler]))
                .await
                .unwrap();
        }
        machine.kill();
        let mut files = machine.files();
        let frames = files[SEGMENT][36..].to_vec();
        let name = |name: &&String| name.ends_with(".segment");
        let last = files.keys().rfind(name).unwrap().clone();
        files.get_mut(&last).unwrap().extend(frames);
        let machine = Machine::with_files(&files);
        let disk = Disk::open_in(settings, machine.mount()).unwrap();
        let mut kept = find(&disk, "a").await.unwrap();
        assert_eq!(kept.records.len(), 6);
        assert_eq!(owned(&mut kept.replica), (false, 6));
    });
}

#[test]
fn a_later_version_is_refused_and_left_alone() {
    runtime().block_on(async {
        let mut files = files().await;
        let segment = files.get_mut(SEGMENT).unwrap();
        segment[8] = 2;
        let sum = crc32(&segment[..12]);
        segment[12..16].copy_from_slice(&sum.to_le_bytes());
        let machine = Machine::with_files(&files);
        let error = Disk::open_in(settings(Sync::Never), machine.mount()).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("version 2") && error.contains(SEGMENT),
            "{error}"
        );
        assert_eq!(machine.files(), files);
    });
}

/// Bit by bit, so that it is not what is tested.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
    let byte = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}

#[test]
fn a_damaged_secret_is_refused() {
    runtime().block_on(async {
        let mut files = files().await;
        files.insert("secret".to_owned(), vec![1; 31]);
        let machine = Machine::with_files(&files);
        let error = Disk::open_in(settings(Sync::Never), machine.mount()).unwrap_err();
        assert!(error.to_string().contains("secret"), "{error}");
        files.remove("secret");
        let machine = Machine::with_files(&files);
        let disk = open(&machine, Sync::Never);
        let secret = disk.secret().unwrap();
        machine.kill();
        assert_eq!(open(&machine, Sync::Never).secret().unwrap(), secret);
    });
}

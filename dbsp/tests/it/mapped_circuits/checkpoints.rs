//! What a checkpoint writes of batches in place, and what is there when it is not finished: by a limit, or since the
//! process was killed.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use dbsp::utils::Tup2;
use feldera_types::checkpoint::CheckpointMetadata;

use super::{
    Batches, Kind, Numbers, Output, Running, RunningOf, Step, config_from, last_checkpoint,
    step_of, step_of_run, texts::Texts,
};

const FOLDER: &str = "STORAGE_DBSP_TEST_FOLDER";
const KIND: &str = "STORAGE_DBSP_TEST_KIND";

/// The files of batches that are read in place, in the folder of a storage.
fn batch_files(folder: &Path) -> BTreeSet<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| storage::Columns::open(path).is_ok()).collect()
}

/// Makes checkpoints until one needs no new file of a batch. Before, mergers may be at work.
fn checkpoint_without_writing(running: &mut Running, folder: &Path) -> CheckpointMetadata {
    let at_rest = (0..100).find_map(|at| {
        let before = batch_files(folder);
        sleep(Duration::from_millis(10));
        let checkpoint = running.checkpoint(at);
        (batch_files(folder) == before).then_some(checkpoint)
    });
    at_rest.expect("batches are written for their first checkpoint alone")
}

#[test]
fn a_batch_is_written_for_its_first_checkpoint_alone() {
    // In files, and in memory.
    for min_step_spill_bytes in [Some(300), None] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = config_from(folder.path(), 1, min_step_spill_bytes);
        let mut running = Running::start_as(Batches::InPlace, config, None);
        (0..5).for_each(|at| {
            running.step(&step_of_run(at));
        });
        let checkpoint = checkpoint_without_writing(&mut running, folder.path());
        assert!(!batch_files(folder.path()).is_empty());
        running.stop();
        // And those that are restored are not written at all.
        let mut running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
        checkpoint_without_writing(&mut running, folder.path());
        running.stop();
    }
}

/// DBSP deletes the file when no checkpoint names it any more, whoever still has the batch.
#[test]
fn a_batch_whose_file_was_deleted_is_written_again() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let reference = tempfile::tempdir().unwrap();
    let mut expected = Running::start(Batches::BuiltIn, reference.path(), 1, None);
    let mut running = Running::start(Batches::InPlace, folder.path(), 1, None);
    for at in 0..5 {
        assert_eq!(running.step(&step_of_run(at)), expected.step(&step_of_run(at)));
    }
    for _ in 0..2 {
        checkpoint_without_writing(&mut running, folder.path());
        batch_files(folder.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let checkpoint = running.checkpoint(5);
        running.stop();
        // The next time it is batches that were restored.
        running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
    }
    assert_eq!(running.step(&step_of_run(5)), expected.step(&step_of_run(5)));
    running.stop();
    expected.stop();
}

/// Left changes only, so that nothing joins.
fn left_of(keys: u16, vals: u32) -> Step {
    let of_key = |key| (0..vals).map(move |val| (key, Tup2(val, 1), 1));
    [(0..keys).flat_map(of_key).collect(), vec![]]
}

/// The process that may write small files only.
#[test]
#[ignore = "run by `a_batch_that_a_checkpoint_cannot_write_fails_the_checkpoint`"]
fn checkpoints_in_small_files() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    // Batches stay in memory until a checkpoint asks for them.
    let mut running = Running::start_as(Batches::InPlace, config_from(folder, 1, None), None);
    running.step(&left_of(10, 1));
    running.checkpoint(1);
    // 1 MB.
    running.step(&left_of(60_000, 1));
    let error = format!("{:?}", running.try_checkpoint(2).unwrap_err());
    for part in ["write a batch for a checkpoint", "File too large", "ulimit -f"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

/// Nothing but the batch is too large: it is its own failure that has to reach the caller, by its name.
#[test]
fn a_batch_that_a_checkpoint_cannot_write_fails_the_checkpoint() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Files of up to 64 or 128 KiB: shells count blocks of 512 or 1024 bytes.
    let limited = r#"ulimit -f 128 && exec "$0" "$@""#;
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "mapped_circuits::checkpoints::checkpoints_in_small_files",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{}", said.concat());
    // The checkpoint before is the last, and the next process goes on from it.
    let checkpoint = last_checkpoint(folder.path()).unwrap();
    assert_eq!(checkpoint.steps, Some(1));
    let mut running = Running::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
    let [joined, _max] = running.step(&[vec![], vec![(3, Tup2(0, 0), 1), (11, Tup2(0, 0), 1)]]);
    assert_eq!(joined, Output::from([((3, Tup2(0, 1)), 1)]));
    running.stop();
}

/// The files in a folder, and those in it, that had not got their names yet.
fn left_unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            left.append(&mut left_unfinished(&path));
        } else if path.extension().is_some_and(|name| name == "tmp") {
            left.push(path);
        }
    }
    left
}

/// The process that is killed: goes on from the last checkpoint, and makes one after each step.
#[test]
#[ignore = "run by `killed_at_any_point_it_restores_a_checkpoint`"]
fn runs_until_killed() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    match env::var(KIND).as_deref() {
        Ok("texts") => run_on::<Texts>(folder),
        _ => run_on::<Numbers>(folder),
    }
}

fn run_on<K: Kind>(folder: &Path) {
    let from = last_checkpoint(folder);
    let mut at = from.as_ref().map_or(0, |checkpoint| checkpoint.steps.unwrap());
    let mut running = RunningOf::<K>::start(Batches::InPlace, folder, 1, from.as_ref());
    loop {
        running.step(&step_of::<K>(at));
        at += 1;
        running.checkpoint(at);
    }
}

#[test]
fn killed_at_any_point_it_restores_a_checkpoint() {
    kill_and_restore::<Numbers>("numbers");
}

#[test]
fn killed_at_any_point_it_restores_texts() {
    kill_and_restore::<Texts>("texts");
}

fn kill_and_restore<K: Kind>(kind: &str) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let reference = tempfile::tempdir().unwrap();
    let mut expected = RunningOf::<K>::start(Batches::BuiltIn, reference.path(), 1, None);
    let (mut done, mut kills) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while kills < 12 && Instant::now() < deadline {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "mapped_circuits::checkpoints::runs_until_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .env(KIND, kind)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(150 + kills * 97 % 400));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let checkpoint = last_checkpoint(folder.path()).expect("a checkpoint in all that time");
    let steps = checkpoint.steps.unwrap();
    assert!(steps > 3, "only {steps} steps: the times are too short");
    while done < steps {
        expected.step(&step_of::<K>(done));
        done += 1;
    }
    let mut running = RunningOf::<K>::start(Batches::InPlace, folder.path(), 1, Some(&checkpoint));
    let left = left_unfinished(folder.path());
    assert!(left.is_empty(), "nobody needs what killed processes had begun: {left:?}");
    // The next steps meet all the state there is: keys come up again and again.
    for at in steps..steps + 4 {
        assert_eq!(running.step(&step_of::<K>(at)), expected.step(&step_of::<K>(at)), "step {at}");
    }
    running.stop();
    expected.stop();
}

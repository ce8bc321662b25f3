//! `braid-micro [NAME...] [--rounds N]`: runs workloads once each and prints a line of JSON per workload; without names
//! all that are made ready quickly. `braid-micro --memory` prints a line of JSON per kind of thing that takes memory,
//! `braid-micro --probing [SECONDS]` what an hour of probing on 50 links takes.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program for the terminal.

use braid_bench::shards::Busiest;
use braid_bench::{measured, memory, probing, Workload, LARGE, SHARDS, WORKLOADS};
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;

const ROUNDS: usize = 400;
const HOUR: u64 = 3600;
const LINKS: u16 = 50;

fn main() -> ExitCode {
    let mut names = Vec::new();
    let mut rounds = ROUNDS;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            match arguments.next().and_then(|value| value.parse().ok()).filter(|&value| value > 0) {
                Some(value) => rounds = value,
                None => return usage("--rounds needs a number above 0"),
            }
        } else if argument == "--memory" {
            return print_memory();
        } else if argument == "--probing" {
            return match arguments.next().map_or(Some(HOUR), |value| value.parse().ok()) {
                Some(seconds) => print_probing(seconds),
                None => usage("--probing takes a number of seconds"),
            };
        } else if all().any(|workload| workload.name == argument) {
            names.push(argument);
        } else {
            return usage(&format!("no workload {argument:?}"));
        }
    }
    let chosen: Vec<&Workload> = if names.is_empty() {
        WORKLOADS.iter().collect()
    } else {
        all().filter(|w| names.iter().any(|name| name == w.name)).collect()
    };
    for workload in chosen {
        let prepared = (workload.prepare)(rounds);
        let start = Instant::now();
        let worked_on = measured(prepared.run);
        let elapsed = start.elapsed().as_nanos() as f64;
        // Threads side by side count by their CPU time: other work on the machine must not.
        let spent = worked_on.downcast_ref::<Busiest>().map_or(elapsed, |busiest| busiest.nanoseconds as f64);
        let nanoseconds = spent / prepared.packets as f64;
        drop(worked_on);
        println!(
            "{}",
            json!({"name": workload.name, "packets": prepared.packets, "nanoseconds_per_packet": nanoseconds})
        );
    }
    ExitCode::SUCCESS
}

fn all() -> impl Iterator<Item = &'static Workload> {
    WORKLOADS.iter().chain(LARGE).chain(SHARDS)
}

fn print_memory() -> ExitCode {
    let Some(costs) = memory::costs() else {
        eprintln!("braid-micro: /proc/self/smaps_rollup is needed to see memory");
        return ExitCode::FAILURE;
    };
    for cost in costs {
        println!("{}", json!({"name": cost.name, "bytes": cost.bytes}));
    }
    ExitCode::SUCCESS
}

fn print_probing(seconds: u64) -> ExitCode {
    match probing::hour(LINKS, seconds) {
        Some(found) => println!("{found}"),
        None => {
            eprintln!("braid-micro: /proc/self/smaps_rollup is needed to see memory");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn usage(problem: &str) -> ExitCode {
    let names: Vec<&str> = all().map(|workload| workload.name).collect();
    eprintln!(
        "braid-micro: {problem}\nusage: braid-micro [NAME...] [--rounds N] | --memory | --probing [SECONDS]; names: {}",
        names.join(" ")
    );
    ExitCode::from(2)
}

//! `escrow demo`: four services that order, pay, reserve and notify, things going wrong on purpose, and Escrow beside them.
//!
//! ```text
//!   settings ─▶ bus (in memory, or a broker) ─▶ Escrow ─▶ services ─▶ picture, until the time is up or Ctrl-C ─▶ last words
//! ```
//!
//! The services are those of `sagas/order.yaml` and know nothing of Escrow; the Escrow is the whole program, with a database
//! that goes with the run. With `services_only` there is no Escrow here: one that stands beside the broker follows them.

mod board;
mod event;
mod faults;
mod rng;
mod screen;
mod services;
mod stage;
mod story;
mod summary;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::app;
use crate::config::DemoConfig;
use faults::Timing;
use screen::Screen;
use services::Company;
use stage::{Parts, Stage};
use summary::{Line, Tone};

/// The definition the services are followed by.
const DEFINITION: &str = include_str!("../../sagas/order.yaml");
/// Between two lines about services whose Escrow is elsewhere.
const SERVICES_LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs the demo until its time is up, or SIGINT or SIGTERM.
///
/// # Errors
/// It cannot start, or its database cannot be asked any more.
pub async fn run(settings: DemoConfig) -> anyhow::Result<()> {
    anyhow::ensure!(
        settings.rate.is_finite() && settings.rate > 0.0,
        "--rate {}: more than 0 orders a second are needed",
        settings.rate
    );
    let timing = Timing::of(settings.run_for);
    if settings.services_only {
        return services_only(&settings, timing).await;
    }
    let parts = Parts { definition: ("sagas/order.yaml".into(), DEFINITION.into()), timing };
    let mut screen = Screen::open();
    screen.say(&opening(&settings));
    let mut stage = tokio::select! {
        stage = Stage::set(&settings, parts) => stage?,
        () = app::wait_for_signal() => return Ok(()),
    };
    screen.say(&invitation(stage.address(), &stage.company.order_id(1)));
    stage.company.open(settings.rate).await;
    let watched = watch(&mut stage, &mut screen, settings.run_for).await;
    stage.company.close().await;
    let ended = match watched {
        Ok(()) => stage.board.look().await,
        Err(error) => Err(error),
    };
    screen.clear();
    if let Ok(snapshot) = &ended {
        screen.say(&summary::closing(snapshot));
        if settings.amqp_url.is_some() {
            screen.say(&[Line(vec![(Tone::Dim, stage::LEFT_BEHIND.to_owned())])]);
        }
    }
    stage.clear().await;
    ended.map(drop)
}

/// Shows the picture until the end.
async fn watch(stage: &mut Stage, screen: &mut Screen, run_for: Option<Duration>) -> anyhow::Result<()> {
    let mut ticks = interval(screen.refresh_every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let signal = app::wait_for_signal();
    let end = time_is_up(&stage.company, run_for);
    tokio::pin!(signal, end);
    loop {
        tokio::select! {
            biased;
            () = &mut signal => return Ok(()),
            () = &mut end => return Ok(()),
            () = stage.escrow.stopping() => anyhow::bail!("Escrow stopped by itself; its log says why"),
            _ = ticks.tick() => screen.show(&stage.board.look().await?),
        }
    }
}

fn time_is_up(company: &Company, run_for: Option<Duration>) -> impl Future<Output = ()> + use<> {
    let left = run_for.map(|run_for| run_for.saturating_sub(company.elapsed()));
    async move {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    }
}

async fn services_only(settings: &DemoConfig, timing: Timing) -> anyhow::Result<()> {
    let company = tokio::select! {
        company = stage::company(settings, timing) => company?,
        () = app::wait_for_signal() => return Ok(()),
    };
    let mut screen = Screen::open();
    company.open(settings.rate).await;
    let mut ticks = interval(SERVICES_LINE_EVERY);
    let signal = app::wait_for_signal();
    let end = time_is_up(&company, settings.run_for);
    tokio::pin!(signal, end);
    loop {
        tokio::select! {
            biased;
            () = &mut signal => break,
            () = &mut end => break,
            _ = ticks.tick() => screen.say(&[at_work(&company)]),
        }
    }
    company.close().await;
    screen.say(&[at_work(&company)]);
    Ok(())
}

fn at_work(company: &Company) -> Line {
    let inventory = match company.inventory() {
        faults::Inventory::Up(_) => "up",
        faults::Inventory::Down { .. } => "down",
    };
    Line(vec![(Tone::Plain, format!("{} orders placed, inventory is {inventory}", company.placed()))])
}

fn opening(settings: &DemoConfig) -> Vec<Line> {
    let plain = |text: &str| Line(vec![(Tone::Plain, text.to_owned())]);
    let mut lines = vec![
        Line::default(),
        plain("Four services take orders over a bus, and things go wrong on purpose."),
        plain("Escrow listens to what they publish anyway. When an answer does not come, it"),
        plain("asks again; when that does not help, it has undone what had happened."),
    ];
    if settings.amqp_url.is_some() {
        lines.push(Line(vec![(Tone::Dim, "Waiting for the broker …".to_owned())]));
    }
    lines
}

fn invitation(address: SocketAddr, order_id: &str) -> Vec<Line> {
    let ask =
        |call: String, what: &str| Line(vec![(Tone::Plain, format!("  {call:<72}")), (Tone::Dim, what.to_owned())]);
    vec![
        Line::default(),
        Line(vec![(Tone::Heading, "TRY".to_owned()), (Tone::Dim, "  in another terminal, while it runs".to_owned())]),
        ask(format!("curl -s http://{address}/v1/status"), "the whole at a glance"),
        ask(format!("curl -s 'http://{address}/v1/orders?status=stuck'"), "what needs a person"),
        ask(format!("curl -s http://{address}/v1/sagas/order/orders/{order_id}"), "one order, and why"),
        Line::default(),
    ]
}

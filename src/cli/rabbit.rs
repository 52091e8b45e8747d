//! `escrow rabbit`: what Escrow needs on a broker as commands an administrator can read, and the kill switch.
//!
//! ```text
//!   plan     table ─▶ a script of rabbitmqctl and rabbitmqadmin      json ─▶ a definitions file for `import_definitions`
//!   unbind   says what it would do ── --yes ─▶ does it
//! ```

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::{BoundBy, Format, PlanArgs, RabbitCommand, UnbindArgs};
use super::failure::{FAILURE, Failure, NOT_ALLOWED, UNAVAILABLE, USAGE};
use super::output::{Output, Said, plain, pretty};
use super::start::Start;
use crate::bus::plan::{Binder, Plan, PlanFor, PlannedBinding, PlannedPolicy};
use crate::bus::{BusError, Unbinding};
use crate::config::{BindConfig, Definitions, PlanConfig, UnbindConfig};

/// What became of an exchange, in a spreadsheet.
const UNBINDING: [&str; 5] = ["exchange", "keys", "auto_delete", "outcome", "why"];

/// Runs the command.
pub async fn run(command: RabbitCommand, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    match command {
        RabbitCommand::Plan(args) => plan(args, output, program).await,
        RabbitCommand::Unbind(args) => unbind(args, output, program).await,
        RabbitCommand::Bind(args) => {
            let config = BindConfig {
                database_url: args.database.database_url,
                name: args.name.clone(),
                actor: actor(args.actor),
                reason: args.reason,
            };
            program.rabbit_bind(config).await?;
            let note = "an Escrow that runs binds within seconds, another at its start; what was missed is recorded as a gap then";
            let answer = json!({"name": args.name, "unbound": false});
            Ok(Said {
                note: Some(note.to_owned()),
                ..output.one(&answer, |_| "the tap may be bound again\n".to_owned())
            })
        }
    }
}

fn actor(given: Option<String>) -> String {
    let named = given.or_else(|| std::env::var("USER").ok()).filter(|it| !it.is_empty());
    named.unwrap_or_else(|| "unknown".to_owned())
}

async fn plan(args: PlanArgs, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    let definitions = if args.stored {
        Definitions::Stored { database_url: args.database.database_url }
    } else {
        Definitions::Files(args.sagas)
    };
    let config = PlanConfig {
        definitions,
        name: args.name,
        user: args.user,
        vhost: args.vhost,
        bound_by_administrator: args.bound_by == BoundBy::Administrator,
    };
    let plan = program.rabbit_plan(config).await?;
    Ok(match output.format {
        Format::Table => Said::text(script(&plan)),
        Format::Json => Said {
            note: Some(plan.notes.join("; ")).filter(|it| !it.is_empty()),
            ..Said::text(pretty(&plan.definitions()))
        },
        Format::Jsonl => Said::text(format!("{}\n", plan.definitions())),
        Format::Csv => {
            return Err(Failure::usage("a plan is no table").with_hint("leave -o out for a script, or say -o json"));
        }
    })
}

/// The plan as commands, in an order in which they work.
fn script(plan: &Plan) -> String {
    let PlanFor { name, user, vhost, binder } = &plan.whom;
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let who = match binder {
        Binder::Escrow => "Escrow binds its tap to the watched exchanges by itself",
        Binder::Administrator => "an administrator makes everything, and Escrow may configure nothing",
    };
    say(format!("# What the Escrow called {name} needs on RabbitMQ: {who}."));
    for note in &plan.notes {
        say(format!("# - {}", plain(note)));
    }
    say(String::new());
    say(format!("# rabbitmqctl add_user {}      (it asks for the password)", quoted(user)));
    let (vhost, user) = (quoted(vhost), quoted(user));
    let permissions = &plan.permissions;
    let [configure, write, read] = [&permissions.configure, &permissions.write, &permissions.read].map(|it| quoted(it));
    say(format!("rabbitmqctl set_permissions -p {vhost} {user} {configure} {write} {read}"));
    for topic in &plan.topic_permissions {
        let [exchange, write, read] = [&topic.exchange, &topic.write, &topic.read].map(|it| quoted(it));
        say(format!("rabbitmqctl set_topic_permissions -p {vhost} {user} {exchange} {write} {read}"));
    }
    let policy = |command: &str, policy: &PlannedPolicy| {
        let [name, pattern] = [&policy.name, &policy.pattern].map(|it| quoted(it));
        let definition = quoted(&policy.definition.to_string());
        let priority = policy.priority;
        format!(
            "rabbitmqctl {command} -p {vhost} --priority {priority} --apply-to queues {name} {pattern} {definition}"
        )
    };
    say("\n# These keep every other policy off Escrow's queues: one that rejects publishes would nack the services."
        .to_owned());
    plan.policies.iter().for_each(|it| say(policy("set_policy", it)));
    plan.operator_policies.iter().for_each(|it| say(policy("set_operator_policy", it)));
    let own = match binder {
        Binder::Escrow => "Escrow declares these by itself; `escrow.retry` has to be there for the bindings below.",
        Binder::Administrator => "Escrow's exchanges and queues.",
    };
    say(format!("\n# {own}"));
    for it in &plan.exchanges {
        let flags = format!("durable={} auto_delete={} internal={}", it.durable, it.auto_delete, it.internal);
        let [name, kind] = [format!("name={}", it.name), format!("type={}", it.kind)].map(|it| quoted(&it));
        say(format!("rabbitmqadmin -V {vhost} declare exchange {name} {kind} {flags}"));
    }
    for it in &plan.queues {
        let [name, arguments] =
            [format!("name={}", it.name), format!("arguments={}", json!(it.arguments))].map(|it| quoted(&it));
        say(format!("rabbitmqadmin -V {vhost} declare queue {name} durable=true {arguments}"));
    }
    let binding = |it: &PlannedBinding| {
        let parts =
            [format!("source={}", it.source), format!("destination={}", it.queue), format!("routing_key={}", it.key)];
        let [source, destination, key] = parts.map(|it| quoted(&it));
        format!("rabbitmqadmin -V {vhost} declare binding {source} {destination} {key}")
    };
    say("\n# Canaries, lost messages, and retries to one queue.".to_owned());
    plan.bindings.iter().for_each(|it| say(binding(it)));
    match binder {
        Binder::Escrow => {
            say("\n# Escrow makes these by itself, every 2 seconds.".to_owned());
            plan.watching.iter().for_each(|it| say(format!("# {}", binding(it))));
        }
        Binder::Administrator => {
            say("\n# From the services' exchanges to the tap. Again whenever one of them is declared anew.".to_owned());
            plan.watching.iter().for_each(|it| say(binding(it)));
        }
    }
    text
}

/// One word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

async fn unbind(args: UnbindArgs, output: Output, program: &dyn Start) -> Result<Said, Failure> {
    let definitions = if args.broker_only {
        Definitions::Files(args.sagas)
    } else {
        Definitions::Stored { database_url: args.database.database_url }
    };
    let config = UnbindConfig {
        definitions,
        amqp_url: args.amqp_url,
        name: args.name.clone(),
        actor: actor(args.actor),
        reason: args.reason,
        dry_run: !args.yes,
        force: args.force,
    };
    let all = program.rabbit_unbind(config).await.map_err(|error| failed(error, args.yes && !args.broker_only))?;
    let value = json!({"name": args.name, "unbound": args.yes && all.iter().all(|it| it.outcome.is_some()),
        "exchanges": all.iter().map(unbinding).collect::<Vec<_>>()});
    let text = match output.format {
        Format::Table => all.iter().fold(String::new(), |text, it| text + &sentence(it)),
        Format::Json | Format::Jsonl => output.one(&value, pretty).text,
        Format::Csv => {
            let rows: Vec<Value> = all.iter().map(unbinding).collect();
            output.report(&value, &rows, &UNBINDING, String::new)
        }
    };
    let untouched: Vec<&str> = all.iter().filter(|it| it.outcome.is_none()).map(|it| it.exchange.as_str()).collect();
    if args.yes && !untouched.is_empty() {
        return Err(Failure::new(FAILURE, "auto_delete", auto_delete(&all))
            .with_hint("bind another queue to it first; or say --force if a queue of a service stays bound to it"));
    }
    if !args.yes && !args.dry_run {
        print!("{text}");
        return Err(Failure::new(USAGE, "not_confirmed", "nothing was done").with_hint("say --yes to do this"));
    }
    let refused = all.iter().filter(|it| matches!(it.outcome, Some(Err(_)))).count();
    let note = match (args.yes, args.broker_only) {
        (false, _) => "nothing was done",
        (true, false) => {
            "no Escrow of this name binds again before `escrow rabbit bind`; what is published meanwhile is a gap"
        }
        (true, true) => "the switch is not set: an Escrow of this name that runs binds again within seconds",
    };
    let exit = if refused == 0 { 0 } else { NOT_ALLOWED };
    Ok(Said { text, note: Some(note.to_owned()), exit })
}

fn auto_delete(all: &[Unbinding]) -> String {
    let names: Vec<&str> =
        all.iter().filter(|it| it.is_auto_delete == Some(true)).map(|it| it.exchange.as_str()).collect();
    format!(
        "nothing was done: {} is auto-delete; if the tap's binding is its last one the broker deletes it, and the services' next \
         publish fails",
        names.join(", ")
    )
}

fn unbinding(it: &Unbinding) -> Value {
    let (outcome, why) = match &it.outcome {
        None => ("would_unbind", None),
        Some(Ok(())) => ("unbound", None),
        Some(Err(why)) => ("refused", Some(why)),
    };
    json!({"exchange": it.exchange, "keys": it.keys, "auto_delete": it.is_auto_delete, "outcome": outcome, "why": why})
}

fn sentence(it: &Unbinding) -> String {
    let keys = it.keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let mut text = match &it.outcome {
        None => format!("would unbind {} ({keys})", it.exchange),
        Some(Ok(())) => format!("unbound {} ({keys})", it.exchange),
        Some(Err(why)) => format!("NOT unbound {} ({keys}): {why}; an administrator has to", it.exchange),
    };
    let warning = match (it.is_auto_delete, &it.outcome) {
        (Some(true), _) => "; it is auto-delete: with its last binding the broker deletes it",
        (None, None) => "; if it is auto-delete and nothing else is bound to it, the broker deletes it",
        (Some(false), _) | (None, Some(_)) => "",
    };
    let _ = write!(text, "{warning}");
    plain(&text) + "\n"
}

fn failed(error: anyhow::Error, switch_set: bool) -> Failure {
    let set =
        if switch_set { "; the switch is set, so that an Escrow of this name that runs unbinds by itself" } else { "" };
    match error.downcast_ref::<BusError>() {
        Some(BusError::Disconnected(why)) => Failure::new(UNAVAILABLE, "unavailable", format!("{why}{set}")),
        Some(BusError::Misconfigured(why)) => Failure::new(NOT_ALLOWED, "refused", format!("{why}{set}")),
        None => Failure::from(error)
            .with_hint("if the database is away: stop Escrow, and unbind with --broker-only and --sagas"),
    }
}

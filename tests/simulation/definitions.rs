//! Sagas by chance: every way to wait, to retry, to give up and to undo that the language of definitions has.

use std::fmt::Write as _;
use std::sync::Arc;

use escrow::saga::definition::Saga;
use escrow::saga::parse::parse;

use crate::chance::Chance;

/// Where services publish; the second may be absent, vanish, and come back.
pub const EXCHANGES: [&str; 2] = ["shop", "stock"];

/// The saga whose messages name no order.
pub const LINE: &str = "line";

/// One choreography, or a second look at one.
pub struct Flow {
    pub saga: Arc<Saga>,
    pub text: String,
    /// Messages carry no id (rule 2).
    pub idless: bool,
}

impl Flow {
    /// Where the events of a step are published.
    pub fn exchange(&self, step: usize) -> &'static str {
        if self.saga.name == LINE { EXCHANGES[0] } else { EXCHANGES[usize::from(step % 3 == 2)] }
    }
}

/// The choreographies of a seed.
pub fn flows(chance: &mut Chance) -> Vec<Flow> {
    let shape = Shape::by(chance);
    let mut flows = vec![flow("main", &shape, chance, false)];
    if chance.percent(30) {
        flows.push(flow("shadow", &shape, chance, true));
    }
    if chance.percent(20) {
        flows.push(line(chance));
    }
    flows
}

/// What services do, whoever watches.
struct Shape {
    after: Vec<Vec<usize>>,
    when: Vec<bool>,
    count: Vec<bool>,
    idless: bool,
}

impl Shape {
    fn by(chance: &mut Chance) -> Self {
        let steps = chance.below(4) + 2;
        let (mut after, mut when, mut count) = (vec![Vec::new()], vec![false], vec![false]);
        for step in 1..steps {
            let first = chance.below(step);
            let mut before = vec![first];
            if step > 1 && chance.percent(30) {
                let other = chance.below(step);
                if other != first {
                    before.push(other);
                }
            }
            let conditional = chance.percent(12);
            when.push(conditional);
            count.push(!conditional && chance.percent(15));
            after.push(if conditional { Vec::new() } else { before });
        }
        Self { after, when, count, idless: chance.percent(30) }
    }
}

pub fn step_name(step: usize) -> String {
    ["placed", "payment", "stock", "parcel", "note", "mail"][step].to_owned()
}

fn flow(name: &str, shape: &Shape, chance: &mut Chance, shadow: bool) -> Flow {
    let observe = chance.percent(if shadow { 50 } else { 12 });
    let mut text = format!(
        "saga: {name}\nversion: 1\nmode: {}\nwatch: [{{ exchange: shop }}, {{ exchange: stock }}]\nread: {{ event: /type, order_id: /order }}\nsteps:\n",
        if observe { "observe" } else { "act" }
    );
    for step in 0..shape.after.len() {
        write_step(&mut text, name, shape, step, chance);
    }
    let _ = writeln!(text, "cancelled_by: Cancelled\nwithin: {}m", chance.between(3, 8));
    let brake = match chance.below(4) {
        0 => "none".to_owned(),
        1 | 2 => format!("{{ orders: {}, per: {}s }}", chance.between(1, 2), chance.between(1, 15)),
        _ => "{ orders: 50, per: 1m }".to_owned(),
    };
    let _ = writeln!(text, "brake: {brake}");
    made(text, shape.idless)
}

fn write_step(text: &mut String, saga: &str, shape: &Shape, step: usize, chance: &mut Chance) {
    let name = step_name(step);
    let _ = write!(text, "  {name}:\n    done: {name}Done\n");
    if step == 0 {
        if chance.percent(30) {
            write_compensation(text, saga, &name, chance);
        }
        return;
    }
    let after: Vec<String> = shape.after[step].iter().map(|before| step_name(*before)).collect();
    if shape.when[step] {
        let _ = writeln!(text, "    when: {name}Needed");
    } else {
        let _ = writeln!(text, "    after: [{}]", after.join(", "));
    }
    if shape.count[step] {
        let _ = write!(
            text,
            "    count: \"{{{{ has(steps.placed) ? size(steps.placed.event.parts) : 1 }}}}\"\n    by: /part\n"
        );
    }
    let _ = writeln!(text, "    failed: {name}Failed");
    let _ =
        writeln!(text, "    on_failure: {}", chance.pick(&["compensate", "compensate", "compensate", "alert", "wait"]));
    let _ = writeln!(text, "    within: {}s", chance.between(8, 40));
    let _ =
        writeln!(text, "    on_timeout: {}", chance.pick(&["compensate", "compensate", "compensate", "alert", "skip"]));
    if chance.percent(20) {
        text.push_str("    late: ignore\n");
    }
    if chance.percent(45) {
        let to = match chance.below(3) {
            0 => "original".to_owned(),
            1 => format!("{{ exchange: ask, routing_key: {name} }}"),
            _ => format!("{{ queue: {name} }}"),
        };
        let message = if after.len() > 1 { format!(", message: {}", after[0]) } else { String::new() };
        let (times, every, backoff) = (chance.between(1, 3), chance.between(3, 12), chance.between(1, 2));
        let _ =
            writeln!(text, "    retry: {{ times: {times}, every: {every}s, backoff: {backoff}, to: {to}{message} }}");
    }
    if chance.percent(75) {
        write_compensation(text, saga, &name, chance);
    }
}

fn write_compensation(text: &mut String, saga: &str, name: &str, chance: &mut Chance) {
    text.push_str("    compensation:\n");
    let publishes = chance.percent(85);
    if publishes {
        if chance.percent(30) {
            let _ = writeln!(text, "      publish: {name}Undo{saga}");
        } else {
            // A watched exchange now and then: what Escrow itself sends comes back through the tap (rule 4).
            let exchange = chance.pick(&["undo", "undo", "shop"]);
            let _ = writeln!(
                text,
                "      publish: {{ event: {name}Undo{saga}, exchange: {exchange}, routing_key: {saga}.{name}, body: {{ type: {name}Undo{saga}, order: \"{{{{ order_id }}}}\" }} }}"
            );
        }
    }
    if !publishes || chance.percent(70) {
        let _ = write!(
            text,
            "      done: {name}Undone\n      failed: {name}UndoFailed\n      within: {}s\n",
            chance.between(8, 30)
        );
        if publishes && chance.percent(50) {
            let _ =
                writeln!(text, "      retry: {{ times: {}, every: {}s }}", chance.between(1, 3), chance.between(3, 8));
        }
    }
}

/// Answers that name no order: the oldest that waits is meant (rule 5).
fn line(chance: &mut Chance) -> Flow {
    let within = chance.between(8, 30);
    let text = format!(
        "saga: {LINE}\nversion: 1\nwatch: [{{ exchange: shop }}]\nread: {{ event: /type, order_id: arrival }}\nsteps:\n  opened: {{ done: LineOpened }}\n  served: {{ after: opened, done: LineServed, within: {within}s, on_timeout: compensate, compensation: {{ publish: {{ event: LineUndo, exchange: undo, routing_key: line.served, body: {{ type: LineUndo }} }} }} }}\nwithin: 4m\n"
    );
    made(text, false)
}

fn made(text: String, idless: bool) -> Flow {
    match parse("saga.yaml", &text) {
        Ok(parsed) => Flow { saga: Arc::new(parsed.saga), text, idless },
        Err(findings) => panic!("{text}\n{findings:#?}"),
    }
}

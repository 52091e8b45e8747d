//! What is in force on the broker, as far as AMQP shows it, over a connection of its own.
//!
//! ```text
//!   passive looks                     is it there, how much waits, who reads
//!   declaring again what is there     has it the right arguments, may Escrow configure it
//!   publishing in a transaction that is rolled back     may Escrow publish; nothing leaves the channel
//! ```
//!
//! Changes nothing: nothing absent is declared, nothing is bound, consumed or sent, and rights are tried on Escrow's own names
//! alone. Bindings and policies cannot be seen over AMQP: the management API shows them (`super::management`).

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::uri::AMQPScheme;
use lapin::{BasicProperties, Channel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect::{self, Fault, Live};
use super::names::{Names, OwnName};
use super::topology::{self, Bound, Made};
use crate::bus::BusError;
use crate::bus::plan::{Keys, Reach};
use crate::doctor::Finding;

/// The first frame of a broker that is there.
const GREETING_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// More of it is not needed to find the version.
const GREETING_BYTES: usize = 4_096;
/// Of the bound, in percent: from here on the tap may soon drop messages.
const FILLING_PERCENT: u64 = 50;

const APPLY_PLAN: &str = "apply what `escrow rabbit plan` prints for this name and these definitions";

/// Looks at everything Escrow needs on a broker.
///
/// # Errors
/// `Misconfigured` when the URL or the name cannot be right. A broker that is away is a finding.
pub async fn examine(url: &str, name: &str, bound: Bound, reach: &Reach) -> Result<Vec<Finding>, BusError> {
    let (uri, names) = (super::read_url(url)?, Names::new(name)?);
    let address = format!("{}:{}", uri.authority.host, uri.authority.port);
    let live = match connect::once(&uri, "escrow-doctor").await {
        Ok(live) => live,
        Err(BusError::Disconnected(why)) => {
            let advice = "start the broker, or mend --amqp-url or the network between";
            return Ok(vec![Finding::problem("broker", format!("no connection to {address}: {why}"), advice)]);
        }
        Err(BusError::Misconfigured(why)) => {
            let advice = "mend user, password or virtual host of --amqp-url";
            return Ok(vec![Finding::problem("broker", format!("{address} refuses the connection: {why}"), advice)]);
        }
    };
    let mut findings = vec![Finding::ok("broker", format!("connected to {address}, virtual host {}", uri.vhost))];
    findings.push(match (&uri.scheme, greeted_by(&uri.authority.host, uri.authority.port).await) {
        (AMQPScheme::AMQP, Some(version)) => judge_version(&version),
        (AMQPScheme::AMQP | AMQPScheme::AMQPS, _) => {
            Finding::warning("broker", "its version is not known", "give --management-url")
        }
    });
    let looked = look(&live, &names, bound, reach, &mut findings).await;
    if let Err(fault) = looked {
        let why = BusError::from(fault).to_string();
        findings.push(Finding::problem("broker", format!("not everything could be looked at: {why}"), "try again"));
    }
    live.close().await;
    Ok(findings)
}

async fn look(
    live: &Live,
    names: &Names,
    bound: Bound,
    reach: &Reach,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    let administered = own_exchanges(live, names, findings).await?;
    own_queues(live, names, bound, administered, findings).await?;
    publishing(live, names, reach, findings).await?;
    for wanted in &reach.watched {
        watched(live, &wanted.exchange, findings).await?;
    }
    for exchange in reach.published.keys().filter(|name| reach.watched.iter().all(|it| it.exchange != **name)) {
        if !topology::has_exchange(live, short(exchange)?).await? {
            let what = format!("{exchange}, where compensations or retries go, is not there");
            findings.push(Finding::warning(
                "rights",
                what,
                "start the service that declares it, or mend the definition",
            ));
        }
    }
    for queue in &reach.retry_queues {
        retry_queue(live, queue, findings).await?;
    }
    for queue in reach.looked_at.difference(&reach.retry_queues) {
        handling_queue(live, queue, findings).await?;
    }
    Ok(())
}

/// Returns whether this user may configure none of them.
async fn own_exchanges(live: &Live, names: &Names, findings: &mut Vec<Finding>) -> Result<bool, Fault> {
    let (mut refused, mut there) = (0, 0);
    for (name, kind) in topology::exchanges(names) {
        if !topology::has_exchange(live, name.short()).await? {
            let what = format!("the exchange {name} is not there yet");
            findings.push(Finding::warning("tap", what, "run `escrow serve`, which declares it, or apply the plan"));
            continue;
        }
        there += 1;
        match topology::declare_exchange(live, name, kind).await {
            Ok(()) => {}
            Err(Fault::Channel { code: 403, .. }) => refused += 1,
            Err(Fault::Channel { text, .. }) => {
                let what = format!("the exchange {name} is not what it has to be: {text}");
                findings.push(Finding::problem(
                    "tap",
                    what,
                    "delete it while Escrow is stopped; Escrow declares it again",
                ));
            }
            Err(fault @ Fault::Gone(_)) => return Err(fault),
        }
    }
    let administered = there > 0 && refused == there;
    findings.extend(match (there, administered) {
        (0, _) => None,
        (_, false) if refused == 0 => Some(Finding::ok("rights", "Escrow may configure its own exchanges")),
        (_, false) => {
            Some(Finding::problem("rights", "Escrow may configure some of its exchanges, and not all", APPLY_PLAN))
        }
        (_, true) => Some(Finding::warning(
            "rights",
            "this user may configure nothing: an administrator makes queues and bindings, and Escrow cannot see bindings",
            "give --management-url to check that every watched exchange is bound",
        )),
    });
    Ok(administered)
}

async fn own_queues(
    live: &Live,
    names: &Names,
    bound: Bound,
    administered: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    let tap = topology::own_queue(live, &names.tap).await?;
    let Some(state) = tap else {
        let advice = if administered { APPLY_PLAN } else { "run `escrow serve`, which declares it" };
        findings.push(Finding::warning("tap", format!("{} is not there yet", names.tap), advice));
        return Ok(());
    };
    let declared = topology::declare_queue(live, &names.tap, topology::tap_arguments(names, bound)).await;
    findings.push(arguments(&names.tap, declared, "a single active consumer, and drops its oldest when it is full"));
    if state.consumers == 0 {
        let what = format!("nobody reads {}; {} messages wait in it", names.tap, state.messages);
        findings.push(Finding::warning("tap", what, "start `escrow serve`"));
    } else {
        findings.push(Finding::ok("tap", format!("{} has {} consumers", names.tap, state.consumers)));
    }
    if u64::from(state.messages) * 100 >= bound.messages * FILLING_PERCENT {
        let what = format!("{} holds {} of at most {} messages", names.tap, state.messages, bound.messages);
        findings.push(Finding::warning(
            "tap",
            what,
            "find out why Escrow does not read them; past the bound it drops them",
        ));
    }
    match topology::own_queue(live, &names.lost).await? {
        None => {
            let what = format!("{} is not there: what the tap drops would not be told", names.lost);
            findings.push(Finding::problem(
                "tap",
                what,
                "restart `escrow serve`, which declares it, or apply the plan",
            ));
        }
        Some(lost) => {
            let declared = topology::declare_queue(live, &names.lost, topology::lost_arguments()).await;
            findings.push(arguments(&names.lost, declared, "bounded"));
            if lost.messages > 0 {
                let what = format!("the tap has dropped messages, at least {}, and nobody was told yet", lost.messages);
                findings.push(Finding::warning("tap", what, "start `escrow serve`, which records the gap"));
            }
        }
    }
    Ok(())
}

fn arguments(queue: &OwnName, declared: Result<Made, BusError>, what: &str) -> Finding {
    match declared {
        Ok(Made::Own) => Finding::ok("tap", format!("{queue} has the right arguments: it is {what}")),
        Ok(Made::Administrator) => Finding::warning(
            "tap",
            format!("{queue} is there; its arguments cannot be seen by this user"),
            "give --management-url to check them",
        ),
        Err(error) => {
            Finding::problem("tap", error.to_string(), "stop Escrow, delete it once it is empty, and start again")
        }
    }
}

/// Tries to publish on Escrow's own exchanges, in transactions that are rolled back.
async fn publishing(live: &Live, names: &Names, reach: &Reach, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    let told = match &reach.told {
        Keys::Some { prefixes, .. } => prefixes.iter().next().map(|prefix| format!("{prefix}doctor")),
        Keys::Any => None,
    };
    let telling = told.unwrap_or_else(|| "doctor".to_owned());
    let tries = [(&names.exchange, telling.as_str()), (&names.canary_exchange, names.key.as_str())];
    for (name, key) in tries.into_iter().chain([(&names.retry_exchange, "doctor")]) {
        if !topology::has_exchange(live, name.short()).await? {
            continue;
        }
        match publish_and_roll_back(live, name, key).await {
            Ok(()) => findings.push(Finding::ok("rights", format!("Escrow may publish on {name}"))),
            Err(Fault::Channel { text, .. }) => {
                let what = format!("Escrow may not publish on {name}: {text}");
                findings.push(Finding::problem("rights", what, APPLY_PLAN));
            }
            Err(fault @ Fault::Gone(_)) => return Err(fault),
        }
    }
    Ok(())
}

/// The broker checks rights when the message comes in, and routes it only at a commit that never comes.
async fn publish_and_roll_back(live: &Live, exchange: &OwnName, key: &str) -> Result<(), Fault> {
    let channel = live.channel().await?;
    let key = short(key)?;
    let trying = async |channel: &Channel| {
        channel.tx_select().await?;
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(exchange.short(), key, options, b"", BasicProperties::default());
        sent.await?;
        channel.tx_rollback().await
    };
    let answer = match live.rpc("tx.rollback", trying(&channel)).await {
        // The refusal was there before the rollback was asked for, and the client library does not keep its words.
        Err(Fault::Gone(_)) if live.is_up() && !channel.status().connected() => {
            Err(Fault::Channel { code: 403, text: "the broker closed the channel over it".to_owned() })
        }
        answer => answer,
    };
    channel.close(200, "OK".into()).await.ok();
    answer
}

async fn watched(live: &Live, exchange: &str, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    match topology::has_exchange(live, short(exchange)?).await {
        Ok(true) => findings.push(Finding::ok("watched", format!("{exchange} is there"))),
        Ok(false) => {
            let what = format!("{exchange} is not there");
            let advice = "nothing to do if its service has not started yet: Escrow binds when it appears; else mend the definition";
            findings.push(Finding::warning("watched", what, advice));
        }
        Err(Fault::Channel { text, .. }) => {
            findings.push(Finding::problem("watched", format!("{exchange} cannot be seen: {text}"), APPLY_PLAN));
        }
        Err(fault @ Fault::Gone(_)) => return Err(fault),
    }
    match topology::queue_state(live, short(exchange)?).await {
        Ok(_) => findings.push(Finding::warning(
            "watched",
            format!("there is also a queue called {exchange}: the right to bind the exchange is the right to consume the queue"),
            "Escrow never does; rename the queue, or let an administrator bind (`escrow rabbit plan --bound-by administrator`)",
        )),
        Err(Fault::Channel { .. }) => {}
        Err(fault @ Fault::Gone(_)) => return Err(fault),
    }
    Ok(())
}

async fn retry_queue(live: &Live, queue: &str, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    findings.push(match topology::queue_state(live, short(queue)?).await {
        Ok(state) if state.consumers == 0 => Finding::warning(
            "retries",
            format!("nobody consumes the queue {queue}: a retry to it would be withheld"),
            "start its service, or mend the definition",
        ),
        Ok(_) => Finding::ok("retries", format!("the queue {queue} is there and consumed")),
        Err(Fault::Channel { text, .. }) => Finding::warning(
            "retries",
            format!("the queue {queue} cannot be seen: {text}"),
            "start its service, or mend the definition; until then retries are withheld",
        ),
        Err(fault @ Fault::Gone(_)) => return Err(fault),
    });
    Ok(())
}

/// A queue that is only looked at: nothing depends on it but what people are told.
async fn handling_queue(live: &Live, queue: &str, findings: &mut Vec<Finding>) -> Result<(), Fault> {
    findings.push(match topology::queue_state(live, short(queue)?).await {
        Ok(state) if state.consumers == 0 => Finding::warning(
            "queues",
            format!("nobody consumes the queue {queue}, which `handled_by` names"),
            "start its service, or mend the definition",
        ),
        Ok(_) => Finding::ok("queues", format!("the queue {queue} is there and consumed")),
        Err(Fault::Channel { text, .. }) => Finding::warning(
            "queues",
            format!("the queue {queue}, which `handled_by` names, cannot be seen: {text}"),
            "start its service, mend the definition, or give this user any one permission on the name",
        ),
        Err(fault @ Fault::Gone(_)) => return Err(fault),
    });
    Ok(())
}

fn judge_version(version: &str) -> Finding {
    let number = |part: Option<&str>| part.and_then(|it| it.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = version.split('.');
    if (number(parts.next()), number(parts.next())) >= (3, 10) {
        Finding::ok("broker", format!("RabbitMQ {version}"))
    } else {
        let advice = "use RabbitMQ 3.10 or newer";
        Finding::problem("broker", format!("it says that its version is {version}"), advice)
    }
}

/// The version in a broker's first frame, which the client library does not keep.
async fn greeted_by(host: &str, port: u16) -> Option<String> {
    let greeting = async {
        let mut stream = TcpStream::connect((host, port)).await.ok()?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
        let mut bytes = Vec::new();
        while bytes.len() < GREETING_BYTES {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                break;
            }
            if let Some(version) = version_in(&bytes) {
                return Some(version);
            }
        }
        None
    };
    timeout(GREETING_TIMEOUT, greeting).await.ok().flatten()
}

/// An AMQP table holds it as a short name, the letter for a long text, its length in four bytes, and the text.
fn version_in(bytes: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let at = bytes.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    let text = bytes.get(at + 4..at + 4 + usize::try_from(length).ok()?)?;
    String::from_utf8(text.to_vec()).ok()
}

fn short(text: &str) -> Result<ShortString, Fault> {
    ShortString::try_new(text).map_err(|_| Fault::Channel { code: 404, text: "no name is this long".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn the_version_is_read_from_the_first_frame_and_judged() {
        let frame = b"\x01\0\0....\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8....";
        assert_eq!(version_in(frame).as_deref(), Some("3.10.8"));
        assert_eq!(version_in(&frame[..40]), None, "not all of it has come yet");
        for (version, level) in
            [("3.10.8", Level::Ok), ("4.1.0", Level::Ok), ("3.9.29", Level::Problem), ("beta", Level::Problem)]
        {
            assert_eq!(judge_version(version).level, level, "{version}");
        }
    }
}

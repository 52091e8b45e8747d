//! From the tree to the values of `alerts.yaml`.
//!
//! Takes what the grammar accepted and leaves the rest out in silence, for it is reported; what only shows here (a variable
//! that is not set, an address that is none, a route to nowhere) is reported here. No finding repeats what the environment
//! held.

use std::collections::BTreeMap;

use lettre::message::Mailbox as Address;

use super::{CauseRule, Environment, Route, Rules};
use crate::alert::channel::{Alertmanager, Channel, Mailbox, Receiver, Tls};
use crate::alert::secret::Secret;
use crate::alert::severity::Severity;
use crate::saga::incident::cause::Cause;
use crate::saga::parse::finding::Findings;
use crate::saga::parse::hint;
use crate::saga::parse::tree::Node;
use crate::saga::time::Span;

/// Where PagerDuty takes events.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// How often what lasts is said again to an Alertmanager, and the longest that may be chosen: it forgets what it does not hear of.
const EVERY: Span = Span::from_secs(60);

/// Builds what `root` says. Only rules without errors among the findings are valid.
pub(super) fn build(root: &Node, environment: Environment, findings: &mut Findings) -> Rules {
    let mut builder = Builder { findings, environment };
    let channels = root.get("channels").map(Node::entries).unwrap_or_default();
    let rules = Rules {
        channels: channels.iter().filter_map(|(name, node)| builder.channel(name.key_text(), node)).collect(),
        routes: builder.routes(root),
        causes: builder.causes(root),
        runbook_url: root.get("runbook_url").and_then(|node| builder.page(node)),
        link: root.get("link").and_then(|node| builder.page(node)).map(|it| it.trim_end_matches('/').to_owned()),
    };
    builder.unused(root);
    rules
}

struct Builder<'f, 'a, 'e> {
    findings: &'f mut Findings<'a>,
    environment: Environment<'e>,
}

impl Builder<'_, '_, '_> {
    fn channel(&mut self, name: String, node: &Node) -> Option<Channel> {
        let (kind, node) = node.entries().first().and_then(|(kind, node)| Some((kind.text()?, node)))?;
        let receiver = match kind {
            "alertmanager" => self.alertmanager(node)?,
            "slack" => Receiver::Slack { url: self.address(node.get("url")?)? },
            "pagerduty" => Receiver::PagerDuty {
                url: node.get("url").map_or_else(|| Some(Secret::new(PAGERDUTY_URL)), |url| self.address(url))?,
                routing_key: self.text(node.get("routing_key")?).map(Secret::new)?,
            },
            "webhook" => {
                let (url, secret) = (self.address(node.get("url")?), self.signing_secret(node.get("secret")?));
                Receiver::Webhook { url: url?, secret: secret? }
            }
            "email" => Receiver::Email(self.mailbox(node)?),
            _ => return None,
        };
        Some(Channel { name, receiver })
    }

    fn alertmanager(&mut self, node: &Node) -> Option<Receiver> {
        let urls = node.get("urls")?.items().iter().map(|url| self.address(url)).collect::<Option<Vec<_>>>();
        let every = node.get("every").and_then(|node| Some((node, Span::parse(node.text()?).ok()?)));
        if let Some((node, _)) = every.filter(|(_, every)| *every > EVERY || *every < Span::from_secs(1)) {
            let hint = "between 1s and 1m; an Alertmanager takes what it does not hear of as over".to_owned();
            self.findings.error(node.mark, "this is not often enough, or too often", hint);
        }
        Some(Receiver::Alertmanager(Alertmanager { urls: urls?, every: every.map_or(EVERY, |(_, every)| every) }))
    }

    fn mailbox(&mut self, node: &Node) -> Option<Mailbox> {
        let tls = match node.get("tls").and_then(Node::text) {
            Some("plain") => Tls::Plain,
            Some("tls") => Tls::FromStart,
            _ => Tls::Upgraded,
        };
        let server = self.server(node.get("smtp")?, tls);
        let from = self.mail_address(node.get("from")?);
        let to = node.get("to")?.items().iter().map(|it| self.mail_address(it)).collect::<Option<Vec<_>>>();
        let user = node.get("user").map(|node| self.text(node));
        let password = node.get("password").map(|node| self.text(node));
        let login = match (user, password) {
            (Some(user), Some(password)) => Some((user?, Secret::new(password?))),
            _ => None,
        };
        let (host, port) = server?;
        Some(Mailbox { host, port, tls, login, from: from?, to: to? })
    }

    /// `host` or `host:port`.
    fn server(&mut self, node: &Node, tls: Tls) -> Option<(String, u16)> {
        let text = self.text(node)?;
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().ok()),
            None => (text, Some(tls.port())),
        };
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', ':']);
        if let Some(port) = port.filter(|_| is_host) {
            return Some((host, port));
        }
        let hint = "write host or host:port, without `smtp://`".to_owned();
        self.findings.error(node.mark, "this is no mail server", hint);
        None
    }

    fn mail_address(&mut self, node: &Node) -> Option<Address> {
        let text = self.text(node)?;
        let address = text.parse::<Address>().ok();
        if address.is_none() {
            let hint = "write ada@example.org, or 'Ada <ada@example.org>'".to_owned();
            self.findings.error(node.mark, "this is no mail address", hint);
        }
        address
    }

    /// An address alerts are posted to.
    fn address(&mut self, node: &Node) -> Option<Secret> {
        self.http(node).map(Secret::new)
    }

    /// An address people open.
    fn page(&mut self, node: &Node) -> Option<String> {
        self.http(node)
    }

    fn http(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        let is_address = reqwest::Url::parse(&text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|it| !it.is_empty())
        });
        if is_address {
            return Some(text);
        }
        self.findings.error(node.mark, "this is no address", "it begins with https:// or http://".to_owned());
        None
    }

    fn signing_secret(&mut self, node: &Node) -> Option<Secret> {
        let secret = Secret::new(self.text(node)?);
        if crate::alert::webhook::key_of(&secret).is_none() {
            let hint = "after `whsec_` stands base64; any other text is taken as it is".to_owned();
            self.findings.error(node.mark, "this secret cannot be read", hint);
            return None;
        }
        Some(secret)
    }

    /// The text with every `${NAME}` filled in. `$${` stands for `${`.
    fn text(&mut self, node: &Node) -> Option<String> {
        let mut rest = node.text()?;
        let (mut filled, mut is_whole) = (String::new(), true);
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                filled.push_str(&rest[..at - 1]);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let Some((name, after)) = rest[at + 2..].split_once('}') else {
                let hint = "write `${NAME}`, or `$${` for the characters themselves".to_owned();
                self.findings.error(node.mark, "`${` without `}`", hint);
                return None;
            };
            if let Some(value) = (self.environment)(name).filter(|value| !value.is_empty()) {
                filled.push_str(&value);
            } else {
                let message = format!("the environment has no `{name}`");
                let hint = format!("set {name} where Escrow is started, or take the channel out");
                self.findings.error(node.mark, message, hint);
                is_whole = false;
            }
            rest = after;
        }
        filled.push_str(rest);
        is_whole.then_some(filled)
    }

    fn routes(&mut self, root: &Node) -> Vec<Route> {
        let Some(node) = root.get("routes") else { return Vec::new() };
        let routes: Vec<Route> = node.items().iter().map(|node| self.route(root, node)).collect();
        let takes_all =
            |route: &Route| route.causes.is_empty() && route.sagas.is_empty() && route.severities.is_empty();
        if !routes.iter().any(takes_all) {
            let hint = "end with a route that has only `to`, so that nothing goes untold".to_owned();
            self.findings.warning(root.entry("routes").map_or(node.mark, |(key, _)| key.mark), UNTOLD, hint);
        }
        routes
    }

    fn route(&mut self, root: &Node, node: &Node) -> Route {
        let words = |key: &str| -> Vec<String> {
            let items = node.get(key).map(Node::items).unwrap_or_default();
            items.iter().filter_map(Node::text).map(str::to_owned).collect()
        };
        for item in node.get("cause").map(Node::items).unwrap_or_default() {
            self.known_cause(item);
        }
        let channels: Vec<String> = root
            .get("channels")
            .map(Node::entries)
            .unwrap_or_default()
            .iter()
            .map(|(name, _)| name.key_text())
            .collect();
        for item in node.get("to").map(Node::items).unwrap_or_default() {
            if let Some(name) = item.text().filter(|name| !channels.iter().any(|it| it == name)) {
                let known = || channels.iter().map(String::as_str);
                let hint =
                    hint::did_you_mean(name, known()).unwrap_or_else(|| format!("there are {}", hint::any_of(known())));
                self.findings.error(item.mark, format!("there is no channel `{name}`"), hint);
            }
        }
        let severities = words("severity").iter().filter_map(|word| Severity::from_word(word)).collect();
        Route { causes: words("cause"), sagas: words("saga"), severities, to: words("to") }
    }

    fn causes(&mut self, root: &Node) -> BTreeMap<String, CauseRule> {
        let entries = root.get("causes").map(Node::entries).unwrap_or_default();
        let rule = |(name, node): &(Node, Node)| {
            self.known_cause(name);
            let severity = node.get("severity").and_then(Node::text).and_then(Severity::from_word);
            let runbook_url = node.get("runbook_url").and_then(|node| self.page(node));
            (name.key_text(), CauseRule { severity, runbook_url })
        };
        entries.iter().map(rule).collect()
    }

    fn known_cause(&mut self, node: &Node) {
        let known = || Cause::all().map(Cause::word);
        if let Some(name) = node.text().filter(|name| Cause::from_word(name).is_none()) {
            let hint =
                hint::did_you_mean(name, known()).unwrap_or_else(|| format!("there are {}", hint::any_of(known())));
            self.findings.error(node.mark, format!("there is no cause `{name}`"), hint);
        }
    }

    /// Channels nobody is told over.
    fn unused(&mut self, root: &Node) {
        let Some(routes) = root.get("routes") else { return };
        let targets: Vec<Option<&Node>> = routes.items().iter().map(|route| route.get("to")).collect();
        if targets.iter().any(Option::is_none) {
            return;
        }
        let used: Vec<&str> = targets.into_iter().flatten().flat_map(Node::items).filter_map(Node::text).collect();
        for (name, _) in root.get("channels").map(Node::entries).unwrap_or_default() {
            if !used.contains(&name.key_text().as_str()) {
                let hint = "name it in `to` of a route, or take it out".to_owned();
                self.findings.warning(name.mark, "no route leads to this channel", hint);
            }
        }
    }
}

const UNTOLD: &str = "what fits no route is told to nobody";

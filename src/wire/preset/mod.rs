//! The envelopes known by name.

use super::select::Found;

pub(super) mod cloudevents;
pub(super) mod masstransit;
pub(super) mod nservicebus;

/// A found value as text that says something.
fn text(found: Option<Found<'_>>) -> Option<String> {
    found?.text().ok().filter(|text| !text.is_empty()).map(std::borrow::Cow::into_owned)
}

/// The names a .NET type is called by, the shortest first: without namespace and the type it is nested in, with the latter,
/// and in full. `name` is as reflection writes it, `last` what ends its namespace (`.` or `:`); what stands in brackets
/// belongs to the last word.
///
/// `Shop.Orders:Placed` is `Placed`; `Shop:Order+Placed` is `Placed` or `Order+Placed`; `MassTransit:Fault[[Shop:Placed]]` is
/// `Fault[[Placed]]` or `Fault`.
fn type_names(name: &str, last: char) -> Vec<String> {
    let (outer, arguments) = name.split_at(name.find('[').unwrap_or(name.len()));
    let simple = outer.rsplit([last, '+']).next().unwrap_or(outer);
    let mut names = Vec::new();
    if let Some(argument) = arguments.strip_prefix("[[").and_then(|inside| inside.strip_suffix("]]")) {
        let argument = argument.rsplit([last, '+']).next().unwrap_or(argument);
        names.push(format!("{simple}[[{argument}]]"));
    }
    names.push(simple.to_owned());
    names.push(outer.rsplit(last).next().unwrap_or(outer).to_owned());
    names.push(name.to_owned());
    names.retain(|name| !name.is_empty());
    names.dedup();
    names
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn types_are_called_by_their_short_name_first() {
        for (name, last, names) in [
            ("Shop.Orders:OrderPlaced", ':', &["OrderPlaced", "Shop.Orders:OrderPlaced"][..]),
            ("Shop:Order+Placed", ':', &["Placed", "Order+Placed", "Shop:Order+Placed"]),
            ("MassTransit:Fault[[Shop:Pay]]", ':', &["Fault[[Pay]]", "Fault", "MassTransit:Fault[[Shop:Pay]]"]),
            ("Shop.Orders.OrderPlaced", '.', &["OrderPlaced", "Shop.Orders.OrderPlaced"]),
            ("OrderPlaced", '.', &["OrderPlaced"]),
            ("[[", ':', &["[["]),
            ("", ':', &[]),
        ] {
            assert_eq!(type_names(name, last), names, "{name}");
        }
    }
}

//! The kill switch on the broker: takes the tap away from the services' exchanges, over a connection of its own, so that it works
//! whether an Escrow runs or not.
//!
//! The tap itself stays, with what waits in it. An auto-delete exchange goes with its last binding: who calls this has to know.

use super::connect::{self, Fault};
use super::{look, names::Names, topology};
use crate::bus::BusError;

/// Unbinds the tap of the Escrow called `name` from exchanges, each by some keys; one answer for each.
///
/// # Errors
/// Nothing was unbound, or it is not known what was.
pub async fn unbind(
    url: &str,
    name: &str,
    from: Vec<(String, Vec<String>)>,
) -> Result<Vec<Result<(), BusError>>, BusError> {
    let (uri, names) = (super::read_url(url)?, Names::new(name)?);
    let live = connect::once(&uri, "escrow-unbind").await?;
    let mut answers = Vec::with_capacity(from.len());
    // Without a tap there is nothing to take away; the broker would refuse every call.
    let is_there = topology::own_queue(&live, &names.tap).await;
    for (exchange, keys) in from {
        answers.push(match &is_there {
            Ok(Some(_)) => look::unbind_by(&live, &names, &exchange, keys).await,
            Ok(None) => Ok(()),
            Err(fault @ (Fault::Channel { .. } | Fault::Gone(_))) => Err(fault.clone().into()),
        });
    }
    live.close().await;
    Ok(answers)
}

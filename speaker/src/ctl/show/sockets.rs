//! The sockets that serve VIPs.

use super::super::SocketSight;
use super::super::table::table;
use super::Shown;
use serde::Serialize;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Sockets {
    sockets: Vec<SocketSight>,
}

pub(super) fn show(sockets: Vec<SocketSight>) -> Shown<Sockets> {
    let text = match sockets.is_empty() {
        true => "no socket is registered (speaker ctl socket add)\n".to_owned(),
        false => table(["FRONT", "STATE", "OWNER"], &rows(&sockets)),
    };
    Shown {
        data: Sockets { sockets },
        text,
    }
}

fn rows(sockets: &[SocketSight]) -> Vec<[String; 3]> {
    let row = |socket: &SocketSight| {
        let state = if socket.is_open { "open" } else { "closed" };
        let owner = socket.owner.clone().unwrap_or_else(|| "?".to_owned());
        [socket.front.clone(), state.to_owned(), owner]
    };
    sockets.iter().map(row).collect()
}

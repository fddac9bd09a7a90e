//! What a queue log tells of the calls that were in a queue.

use crate::row::Row;

/// The lines of a call, each with its moment; none where it was in no queue.
pub(crate) fn events(legs: &[Row]) -> Vec<(u64, String)> {
    let Some(first) = legs.first().filter(|leg| leg.lastapp == "Queue") else { return Vec::new() };
    // The generated rows have one queue that never answers; that would be a strange office.
    let (call, queue) = (&first.uniqueid, if first.sequence % 3 == 0 { "601" } else { "600" });
    let mut lines = vec![(first.start, format!("{}|{call}|{queue}|NONE|ENTERQUEUE||{}|1\n", first.start, first.src))];
    // Who is answered without a channel of an agent was answered by the queue alone.
    match legs.iter().find_map(|leg| Some((leg, leg.answer.filter(|_| !leg.dstchannel.is_empty())?))) {
        Some((leg, answer)) => {
            let (hold, talk) = (answer - first.start, leg.end - answer);
            let agent = leg.dstchannel.rsplit_once('-').map_or("", |(name, _)| name);
            lines.push((answer, format!("{answer}|{call}|{queue}|{agent}|CONNECT|{hold}|{call}|{hold}\n")));
            lines.push((leg.end, format!("{}|{call}|{queue}|{agent}|COMPLETECALLER|{hold}|{talk}|1\n", leg.end)));
        }
        None => {
            let wait = first.end - first.start;
            lines.push((first.end, format!("{}|{call}|{queue}|NONE|ABANDON|1|1|{wait}\n", first.end)));
        }
    }
    lines
}

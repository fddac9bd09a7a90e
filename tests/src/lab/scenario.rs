//! What `sipp` does in a call, step by step, written out as the XML that it reads.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

const SDP: &str = "v=0\no=lab 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0\n\
    a=rtpmap:0 PCMU/8000\n";

/// Yes to a request inside a call.
const CONFIRMED: &str =
    "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n";

/// A scenario being written.
#[derive(Debug)]
pub(super) struct Scenario {
    xml: String,
    /// The next number of a request of our own inside a call that somebody else began.
    sequence: u32,
}

impl Scenario {
    fn new(name: &str) -> Self {
        let xml = format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"{name}\">\n");
        Self { xml, sequence: 1 }
    }

    /// A telephone that rings for a moment, answers and stays until the other end hangs up.
    pub(super) fn answers() -> Self {
        Self::answered("answers").until_bye()
    }

    /// A telephone that answers like that and says what is in a file.
    pub(super) fn answers_and_speaks(file: &Path) -> Self {
        Self::answered("answers and speaks").line(&speech(file)).until_bye().speaking()
    }

    /// A telephone that rings for a moment and is busy then.
    pub(super) fn busy() -> Self {
        Self::called("busy").reply("180 Ringing", false).pause(100).refuse("486 Busy Here")
    }

    /// A telephone that nobody picks up.
    pub(super) fn silent() -> Self {
        // The end of the INVITE, whose number is that of the CANCEL.
        let terminated = "SIP/2.0 487 Request Terminated\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]t[call_number]\n\
            [last_Call-ID:]\nCSeq: [cseq] INVITE\nContent-Length: 0\n";
        Self::called("silent")
            .reply("180 Ringing", false)
            .line("<recv request=\"CANCEL\"/>")
            .confirm()
            .send("", terminated)
            .line("<recv request=\"ACK\"/>")
    }

    /// A provider that answers, except where the dialled number ends with one of those.
    pub(super) fn provider(refused: &[&str]) -> Self {
        let looks = format!(
            "<ereg regexp=\"sip:[+0-9]*({})@\" search_in=\"msg\" check_it=\"false\" assign_to=\"refused,ending\"/>",
            refused.join("|")
        );
        Self::new("provider")
            .line("<recv request=\"INVITE\" rrs=\"true\"><action>")
            .line(&looks)
            .line("</action></recv>")
            .line("<nop next=\"refuse\" test=\"refused\"/>")
            .reply("183 Session Progress", true)
            .pause(300)
            .reply("200 OK", true)
            .until_bye()
            .line("<nop next=\"end\"/>")
            .line("<label id=\"refuse\"/>")
            .refuse("503 Service Unavailable")
            .line("<label id=\"end\"/>")
            .line("<Reference variables=\"ending\"/>")
    }

    /// A telephone that answers and sends the caller on to another extension without a word (SIP REFER).
    pub(super) fn sends_on(extension: &str) -> Self {
        Self::answered("sends on")
            .pause(700)
            .request("REFER", &format!("Refer-To: <sip:{extension}@localhost>\n"), "")
            .line("<recv response=\"202\"/>")
            // How the transfer goes is told by NOTIFY, any number of times, and in the end by BYE.
            .line("<label id=\"told\"/>")
            .line("<recv request=\"NOTIFY\" optional=\"true\" next=\"notified\"/>")
            .line("<recv request=\"BYE\" next=\"over\"/>")
            .line("<label id=\"notified\"/>")
            .send("next=\"told\"", CONFIRMED)
            .line("<label id=\"over\"/>")
            .confirm()
    }

    /// A telephone that answers, asks another extension by `*2` and hangs up when the two can talk.
    pub(super) fn asks_and_hands_over(extension: &str) -> Self {
        let mut scenario = Self::answered("asks and hands over").pause(700);
        for key in format!("*2{extension}").chars() {
            scenario = scenario
                .request("INFO", "Content-Type: application/dtmf-relay\n", &format!("Signal={key}\nDuration=100\n"))
                .line("<recv response=\"200\"/>")
                .pause(100);
        }
        scenario.pause(2000).request("BYE", "", "").line("<recv response=\"200\"/>")
    }

    /// A telephone, of that name and at that address, that answers, calls another extension on a second line, and joins the
    /// two: a REFER that names the second call (`Replaces`, RFC 3891), as desk telephones transfer.
    pub(super) fn calls_and_joins(name: &str, at: SocketAddr, pbx: SocketAddr, extension: &str) -> Self {
        // What stands before the three strokes is another call to the PBX, and the same one to `sipp`.
        let second = "second///[call_id]";
        let head = |method: &str, sequence: u32, to: &str| {
            format!(
                "{method} sip:{extension}@{pbx} SIP/2.0\nVia: SIP/2.0/[transport] {at};branch=[branch]\n\
                 From: <sip:{name}@{at}>;tag=[pid]s[call_number]\nTo: <sip:{extension}@{pbx}>{to}\n\
                 Call-ID: {second}\nCSeq: {sequence} {method}\nContact: <sip:{name}@{at}>\nMax-Forwards: 70\n"
            )
        };
        let invite = format!("{}Content-Type: application/sdp\nContent-Length: [len]\n\n{SDP}", head("INVITE", 1, ""));
        let mut scenario = Self::answered("calls and joins").pause(700).send("retrans=\"500\"", &invite);
        for response in [100, 180, 183] {
            scenario = scenario.line(&format!("<recv response=\"{response}\" optional=\"true\"/>"));
        }
        let replaces = "second%2F%2F%2F[call_id]%3Bto-tag%3D[$theirs]%3Bfrom-tag%3D[pid]s[call_number]";
        scenario
            .line("<recv response=\"200\"><action>")
            .line("<ereg regexp=\"tag=([^;]+)\" search_in=\"hdr\" header=\"To:\" check_it=\"true\" assign_to=\"whole,theirs\"/>")
            .line("</action></recv>")
            .line("<Reference variables=\"whole\"/>")
            .send("", &format!("{}Content-Length: 0\n", head("ACK", 1, ";tag=[$theirs]")))
            .pause(1500)
            .request("REFER", &format!("Refer-To: <sip:{extension}@{pbx}?Replaces={replaces}>\n"), "")
            .line("<recv response=\"202\"/>")
            // Both calls of this telephone end now, in any order, and it is told how it goes meanwhile.
            .line("<label id=\"told\"/>")
            .line("<recv request=\"NOTIFY\" optional=\"true\" next=\"notified\"/>")
            .line("<recv request=\"BYE\" next=\"first\"/>")
            .line("<label id=\"notified\"/>")
            .send("next=\"told\"", CONFIRMED)
            .line("<label id=\"first\"/>")
            .confirm()
            .line("<label id=\"told again\"/>")
            .line("<recv request=\"NOTIFY\" optional=\"true\" next=\"notified again\"/>")
            .line("<recv request=\"BYE\" next=\"over\"/>")
            .line("<label id=\"notified again\"/>")
            .send("next=\"told again\"", CONFIRMED)
            .line("<label id=\"over\"/>")
            .confirm()
    }

    /// A caller with that name and number, who dials, stays for a while once the call was answered, and hangs up; whom
    /// the other end may hang up on, or refuse; and who says what is in a file. Letters beyond ASCII go out as Latin-1.
    pub(super) fn caller(name: &str, number: &str, dials: &str, stays: Duration, says: Option<&Path>) -> Self {
        let head = |method: &str, to: &str, uri: &str, sequence: u32| {
            Self::callers_head(name, number, dials, method, to, uri, sequence)
        };
        let asked = format!("sip:{dials}@[remote_ip]:[remote_port]");
        let bare = "Content-Length: 0\n";
        let tag = "[peer_tag_param]";
        let invite = head("INVITE", "", &asked, 1);
        let mut scenario = Self::new("caller")
            .send("retrans=\"500\"", &format!("{invite}Content-Type: application/sdp\nContent-Length: [len]\n\n{SDP}"));
        for response in [100, 180, 181, 182, 183] {
            scenario = scenario.line(&format!("<recv response=\"{response}\" optional=\"true\"/>"));
        }
        for response in [403, 404, 408, 480, 486, 487, 488, 500, 502, 503, 600, 603] {
            scenario = scenario.line(&format!("<recv response=\"{response}\" optional=\"true\" next=\"refused\"/>"));
        }
        scenario = scenario
            .line("<recv response=\"200\" rrs=\"true\"/>")
            .send("", &format!("{}{bare}", head("ACK", tag, "[next_url]", 1)));
        if let Some(file) = says {
            scenario = scenario.line(&speech(file)).speaking();
        }
        // What ends a refused call belongs to the INVITE: the same branch.
        let acknowledged = head("ACK", tag, &asked, 1).replace("[branch]", "[branch-1]");
        scenario
            .line(&format!("<recv request=\"BYE\" timeout=\"{}\" ontimeout=\"enough\"/>", stays.as_millis()))
            .confirm()
            .line("<nop next=\"end\"/>")
            .line("<label id=\"enough\"/>")
            .send("retrans=\"500\"", &format!("{}{bare}", head("BYE", tag, "[next_url]", 2)))
            .line("<recv response=\"200\"/>")
            .line("<nop next=\"end\"/>")
            .line("<label id=\"refused\"/>")
            .send("", &format!("{acknowledged}{bare}"))
            .line("<label id=\"end\"/>")
    }

    /// A caller who dials, and hangs up after a while in which it rang and nobody answered.
    pub(super) fn gives_up(name: &str, number: &str, dials: &str, rings: Duration) -> Self {
        let asked = format!("sip:{dials}@[remote_ip]:[remote_port]");
        let head = |method, to| Self::callers_head(name, number, dials, method, to, &asked, 1);
        let (bare, media) = ("Content-Length: 0\n", "Content-Type: application/sdp\nContent-Length: [len]\n\n");
        // What takes an INVITE back belongs to it, and so does what ends it: the branch of so many steps ago.
        let same = |text: String, steps: u32| text.replace("[branch]", &format!("[branch-{steps}]"));
        Self::new("gives up")
            .send("retrans=\"500\"", &format!("{}{media}{SDP}", head("INVITE", "")))
            .line("<recv response=\"100\" optional=\"true\"/>")
            .line("<recv response=\"180\"/>")
            .pause(u32::try_from(rings.as_millis()).expect("seconds"))
            .send("retrans=\"500\"", &format!("{}{bare}", same(head("CANCEL", ""), 4)))
            .line("<recv response=\"200\"/>")
            .line("<recv response=\"487\"/>")
            .send("", &format!("{}{bare}", same(head("ACK", "[peer_tag_param]"), 7)))
    }

    /// The first lines of a request of the caller's.
    fn callers_head(name: &str, number: &str, dials: &str, method: &str, to: &str, uri: &str, sequence: u32) -> String {
        format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             From: \"{name}\" <sip:{number}@[local_ip]:[local_port]>;tag=[pid]f[call_number]\n\
             To: <sip:{dials}@[remote_ip]:[remote_port]>{to}\nCall-ID: [call_id]\nCSeq: {sequence} {method}\n\
             Contact: <sip:{number}@[local_ip]:[local_port]>\nMax-Forwards: 70\n"
        )
    }

    /// Writes it into a file.
    pub(super) fn write(&self, path: &Path) {
        let latin1: Vec<u8> = self
            .xml
            .chars()
            .map(|letter| u8::try_from(u32::from(letter)).expect("a letter of Latin-1"))
            .chain(*b"</scenario>\n")
            .collect();
        fs::write(path, latin1).unwrap();
    }

    // The pieces.

    fn called(name: &str) -> Self {
        // Requests of the called side go the other way: its own name is what the caller wrote under `To`.
        Self::new(name)
            .line("<recv request=\"INVITE\" rrs=\"true\"><action>")
            .line("<ereg regexp=\".*\" search_in=\"hdr\" header=\"From:\" check_it=\"false\" assign_to=\"other\"/>")
            .line("<ereg regexp=\".*\" search_in=\"hdr\" header=\"To:\" check_it=\"false\" assign_to=\"me\"/>")
            .line("</action></recv>")
            .line("<Reference variables=\"me,other\"/>")
    }

    fn answered(name: &str) -> Self {
        Self::called(name).reply("180 Ringing", false).pause(300).reply("200 OK", true).line("<recv request=\"ACK\"/>")
    }

    /// Its media come from where `sipp` speaks.
    fn speaking(mut self) -> Self {
        self.xml = self.xml.replace("[media_port]", "[rtpstream_audio_port]");
        self
    }

    fn until_bye(self) -> Self {
        self.line("<recv request=\"ACK\" optional=\"true\"/>").line("<recv request=\"BYE\"/>").confirm()
    }

    fn refuse(self, status: &str) -> Self {
        self.reply(status, false).line("<recv request=\"ACK\"/>")
    }

    fn reply(self, status: &str, with_media: bool) -> Self {
        let retransmit = if status.starts_with('2') { "retrans=\"500\"" } else { "" };
        let head = format!(
            "SIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]t[call_number]\n[last_Call-ID:]\n\
             [last_CSeq:]\nContact: <sip:[local_ip]:[local_port]>\n"
        );
        let body = if with_media {
            format!("Content-Type: application/sdp\nContent-Length: [len]\n\n{SDP}")
        } else {
            "Content-Length: 0\n".to_owned()
        };
        self.send(retransmit, &format!("{head}{body}"))
    }

    /// Says yes to a request inside the call.
    fn confirm(self) -> Self {
        self.send("", CONFIRMED)
    }

    /// A request of the called side.
    fn request(mut self, method: &str, headers: &str, body: &str) -> Self {
        let sequence = self.sequence;
        self.sequence += 1;
        let text = format!(
            "{method} [next_url] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             From:[$me];tag=[pid]t[call_number]\nTo:[$other]\nCall-ID: [call_id]\nCSeq: {sequence} {method}\n\
             Contact: <sip:[local_ip]:[local_port]>\nMax-Forwards: 70\n{headers}Content-Length: [len]\n\n{body}"
        );
        self.send("retrans=\"500\"", &text)
    }

    fn send(self, attributes: &str, message: &str) -> Self {
        let message = if message.contains("\n\n") { message.to_owned() } else { format!("{message}\n") };
        self.line(&format!("<send {attributes}><![CDATA[\n{message}]]></send>"))
    }

    fn pause(self, milliseconds: u32) -> Self {
        self.line(&format!("<pause milliseconds=\"{milliseconds}\"/>"))
    }

    fn line(mut self, line: &str) -> Self {
        self.xml.push_str(line);
        self.xml.push('\n');
        self
    }
}

/// Begins to say what is in a file, again and again, twenty milliseconds at a time.
fn speech(file: &Path) -> String {
    format!("<nop><action><exec rtp_stream=\"{},-1,0,PCMU/8000\"/></action></nop>", file.display())
}

//! What a command prints, says and asks, as a whole.

use super::*;

#[derive(Serialize)]
struct Org {
    slug: &'static str,
    name: &'static str,
    created_at: &'static str,
    records: i64,
}

const ORGS: [Org; 2] = [
    Org { slug: "acme", name: "=Acme\u{202e}\x1b[2J", created_at: "2026-11-30T08:58:00.000Z", records: 18_204 },
    Org { slug: "globex", name: "Globex", created_at: "2026-11-01T00:00:00.000Z", records: 7 },
];

fn options(format: Format) -> OutputOptions {
    OutputOptions { format, ..OutputOptions::at("2026-11-30T09:00:00Z".parse().unwrap()) }
}

fn fields(format: Format, fields: &[&str]) -> OutputOptions {
    OutputOptions { fields: Some(fields.iter().map(ToString::to_string).collect()), ..options(format) }
}

fn list(output: &Output, items: &[Org]) -> Result<()> {
    let list = List {
        kind: "OrgList",
        items,
        warnings: vec!["umbra has\nno preset".into()],
        name: |org| org.slug.into(),
        empty: "no organizations yet",
    };
    output.list(
        list,
        [
            Column { header: "slug", priority: ALWAYS, cell: |org, _| Cell::text(org.slug) },
            Column { header: "name", priority: 2, cell: |org, _| Cell::text(org.name) },
            Column { header: "records", priority: 1, cell: |org, _| Cell::number(org.records) },
            Column {
                header: "created",
                priority: 1,
                cell: |org, _| Cell::time(org.created_at.parse::<DateTime<Utc>>().ok()),
            },
        ],
    )
}

/// Returns stdout and stderr of a list.
fn listed(options: OutputOptions, screen: Screen) -> (String, String) {
    let (output, captured) = Output::captured(options, screen, &[]);
    list(&output, &ORGS).unwrap();
    (captured.stdout(), captured.stderr())
}

#[test]
fn a_list_is_a_table_for_a_person_and_tabs_for_a_script() {
    let (stdout, stderr) = listed(options(Format::Table), Screen::TERMINAL);
    assert_eq!(
        stdout,
        "SLUG    NAME                    RECORDS  CREATED\n\
         acme    =Acme\\u{202e}\\u{1b}[2J   18,204  2 minutes ago\n\
         globex  Globex                        7  29 days ago\n"
    );
    assert_eq!(stderr, "warning: umbra has\\u{a}no preset\n");
    assert_eq!(
        listed(options(Format::Table), Screen::PIPE).0,
        "acme\t=Acme\\u{202e}\\u{1b}[2J\t18204\t2026-11-30T08:58:00.000Z\n\
         globex\tGlobex\t7\t2026-11-01T00:00:00.000Z\n"
    );
}

#[test]
fn names_are_one_a_line() {
    assert_eq!(listed(options(Format::Name), Screen::PIPE).0, "acme\nglobex\n");
}

#[test]
fn a_json_list_is_one_document_with_its_warnings() {
    let (stdout, stderr) = listed(fields(Format::Json, &["records", "slug"]), Screen::PIPE);
    assert_eq!(
        stdout,
        "{\"kind\":\"OrgList\",\"v\":1,\"items\":[{\"records\":18204,\"slug\":\"acme\"},\
         {\"records\":7,\"slug\":\"globex\"}],\"warnings\":[\"umbra has\\nno preset\"]}\n"
    );
    assert_eq!(stderr, "");
    assert!(
        listed(options(Format::Json), Screen::TERMINAL).0.starts_with("{\n  \"kind\": \"OrgList\",\n  \"v\": 1,\n")
    );
}

#[test]
fn json_escapes_what_is_not_seen_in_a_pipe_too() {
    let stdout = listed(options(Format::Json), Screen::PIPE).0;
    assert!(stdout.contains("\"=Acme\\u202e\\u001b[2J\""), "{stdout}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout).unwrap()["items"][0]["name"], ORGS[0].name);
}

#[test]
fn json_lines_are_one_item_a_line() {
    assert_eq!(
        listed(fields(Format::Jsonl, &["slug"]), Screen::PIPE).0,
        "{\"slug\":\"acme\"}\n{\"slug\":\"globex\"}\n"
    );
}

#[test]
fn yaml_has_the_same_document() {
    let (stdout, _) = listed(fields(Format::Yaml, &["slug", "records"]), Screen::PIPE);
    let read = crate::yaml::parse("-", &stdout).unwrap().to_json();
    assert_eq!(read["items"][1]["slug"], "globex");
    assert!(stdout.starts_with("kind: OrgList\nv: 1\nitems:\n"), "{stdout}");
}

#[test]
fn csv_is_guarded_and_harmless_everywhere() {
    let wanted = || fields(Format::Csv, &["name", "slug"]);
    let raw = OutputOptions { csv_raw: true, ..wanted() };
    assert_eq!(listed(raw, Screen::PIPE).0, "name,slug\n=Acme\u{202e}\x1b[2J,acme\nGlobex,globex\n");
    assert_eq!(listed(wanted(), Screen::PIPE).0, "name,slug\n'=Acme\\u{202e}\\u{1b}[2J,acme\nGlobex,globex\n");
    assert_eq!(listed(wanted(), Screen::TERMINAL).0, "name,slug\n'=Acme\\u{202e}\\u{1b}[2J,acme\nGlobex,globex\n");
}

#[test]
fn fields_choose_the_columns_of_a_table_too() {
    let (stdout, _) = listed(fields(Format::Table, &["records", "slug"]), Screen::TERMINAL);
    assert_eq!(stdout, "RECORDS  SLUG\n18204    acme\n7        globex\n");
    let (stdout, _) = listed(fields(Format::Table, &["records", "slug"]), Screen::PIPE);
    assert_eq!(stdout, "18204\tacme\n7\tglobex\n");
}

#[test]
fn an_unknown_field_prints_nothing() {
    let (output, captured) = Output::captured(fields(Format::Json, &["slgu"]), Screen::PIPE, &[]);
    let error = list(&output, &ORGS).unwrap_err();
    assert_eq!(user_error(&error).unwrap().code, "unknown_field");
    assert_eq!(captured.stdout(), "");
}

#[test]
fn nothing_to_list_is_said_to_a_person_only() {
    let empty = |format, screen| {
        let (output, captured) = Output::captured(options(format), screen, &[]);
        list(&output, &[]).unwrap();
        (captured.stdout(), captured.stderr().contains("no organizations yet"))
    };
    assert_eq!(empty(Format::Table, Screen::TERMINAL), (String::new(), true));
    assert_eq!(empty(Format::Table, Screen::PIPE), (String::new(), false));
    assert!(empty(Format::Json, Screen::PIPE).0.contains("\"items\":[]"));
}

#[test]
fn one_thing_is_its_text_or_its_fields() {
    let one = |options| {
        let (output, captured) = Output::captured(options, Screen::PIPE, &[]);
        output.one("Org", &ORGS[1], |look| format!("created {} with \x1b[2J", look.bold("globex"))).unwrap();
        captured.stdout()
    };
    assert_eq!(one(options(Format::Table)), "created globex with \\u{1b}[2J\n");
    assert_eq!(
        one(OutputOptions { color: ColorChoice::Always, ..options(Format::Table) }),
        "created \x1b[1mglobex\x1b[0m with \\u{1b}[2J\n"
    );
    assert_eq!(
        one(options(Format::Json)),
        "{\"kind\":\"Org\",\"v\":1,\"slug\":\"globex\",\"name\":\"Globex\",\"created_at\":\"2026-11-01T00:00:00.000Z\",\"records\":7}\n"
    );
    assert_eq!(one(fields(Format::Json, &["records"])), "{\"kind\":\"Org\",\"v\":1,\"records\":7}\n");
    assert_eq!(one(fields(Format::Csv, &["records", "slug"])), "records,slug\n7,globex\n");
    assert_eq!(one(options(Format::Name)), "globex\n");
    assert!(one(options(Format::Yaml)).starts_with("kind: Org\nv: 1\nslug: globex\n"));
}

#[test]
fn quiet_leaves_out_notes_and_keeps_warnings() {
    let quiet = OutputOptions { quiet: true, verbose: 1, ..options(Format::Table) };
    let (output, captured) = Output::captured(quiet, Screen::PIPE, &[]);
    output.note("created");
    output.warn("look");
    output.verbose(1, "told");
    output.verbose(2, "not told");
    assert_eq!(captured.stderr(), "warning: look\ntold\n");
}

#[test]
fn a_closed_stdout_is_told_apart_from_a_full_disk() {
    struct Failing(ErrorKind);
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fails_with = |kind| {
        let (mut output, _) = Output::captured(options(Format::Table), Screen::PIPE, &[]);
        output.stdout = Mutex::new(Box::new(Failing(kind)));
        list(&output, &ORGS).unwrap_err().is::<ClosedOutput>()
    };
    assert!(fails_with(ErrorKind::BrokenPipe));
    assert!(!fails_with(ErrorKind::StorageFull));
}

#[test]
fn without_a_terminal_a_question_names_its_flag() {
    let open_pipe = Screen { stdin: false, ..Screen::TERMINAL };
    let hidden = Screen { stderr: false, ..Screen::TERMINAL };
    for (screen, no_input) in [(open_pipe, false), (hidden, false), (Screen::TERMINAL, true)] {
        let options = OutputOptions { no_input, ..options(Format::Table) };
        let (output, _) = Output::captured(options, screen, &[]);
        let error = output.ask("--name").err().unwrap();
        assert_eq!((error.exit, error.code), (Exit::Usage, "input_needed"));
        assert!(error.message.starts_with("`--name` is needed: "), "{}", error.message);
    }
}

#[test]
fn harm_wants_yes_and_destruction_wants_the_name() {
    let output = |answers: &[&str], assume_yes| {
        let options = OutputOptions { assume_yes, ..options(Format::Table) };
        Output::captured(options, Screen::TERMINAL, answers).0
    };
    assert!(output(&[], true).confirm_harm("Delete `acme`?").unwrap());
    assert!(output(&["y"], false).confirm_harm("Delete `acme`?").unwrap());
    assert!(!output(&["n"], false).confirm_harm("Delete `acme`?").unwrap());
    assert!(!output(&["<"], false).confirm_harm("Delete `acme`?").unwrap());
    let left = output(&["^C"], false).confirm_harm("Delete `acme`?").unwrap_err();
    assert_eq!(user_error(&left).unwrap().exit, Exit::Interrupted);

    assert!(output(&[], false).confirm_destroy("acme", Some("acme")).unwrap());
    assert!(output(&["acme"], true).confirm_destroy("acme", None).unwrap());
    assert!(!output(&["acem"], true).confirm_destroy("acme", None).unwrap());
    let other = output(&[], true).confirm_destroy("acme", Some("globex")).unwrap_err();
    assert_eq!(user_error(&other).unwrap().code, "confirm_mismatch");

    let (script, _) = Output::captured(OutputOptions { assume_yes: true, ..options(Format::Table) }, Screen::PIPE, &[]);
    let needed = script.confirm_destroy("acme", None).unwrap_err();
    assert_eq!(user_error(&needed).unwrap().hint.as_deref(), Some("run the command again with `--confirm acme`"));
}

#[test]
fn a_scripted_question_is_answered_checked_and_defaulted() {
    let (output, _) = Output::captured(options(Format::Table), Screen::TERMINAL, &["", "b", "<", "hunter2"]);
    let ask = output.ask("--name").unwrap();
    let any = |_: &str| Ok::<(), String>(());
    assert_eq!(ask.text("Name", Some("acme"), any).unwrap(), Answer::Given("acme".into()));
    assert_eq!(ask.select("Preset", &["a", "b"], 0).unwrap(), Answer::Given(1));
    assert_eq!(ask.select("Preset", &["a", "b"], 0).unwrap(), Answer::Back);
    assert!(matches!(ask.secret("Key").unwrap(), Answer::Given(key) if *key == "hunter2"));
}

#[test]
fn a_thing_is_spread_out_for_a_person_with_every_digit() {
    #[derive(Serialize)]
    struct Record {
        id: Box<serde_json::value::RawValue>,
        tags: Vec<&'static str>,
    }
    let id = serde_json::value::RawValue::from_string("12345678901234567890123".into()).unwrap();
    let (output, captured) = Output::captured(options(Format::Json), Screen::TERMINAL, &[]);
    output.one("Record", &Record { id, tags: vec!["a"] }, |_| String::new()).unwrap();
    assert_eq!(
        captured.stdout(),
        "{\n  \"kind\": \"Record\",\n  \"v\": 1,\n  \"id\": 12345678901234567890123,\n  \"tags\": [\n    \"a\"\n  ]\n}\n"
    );
}

#[test]
fn yaml_is_whole_in_a_pipe_and_harmless_on_a_terminal() {
    let read = crate::yaml::parse("-", &listed(options(Format::Yaml), Screen::PIPE).0).unwrap().to_json();
    assert_eq!(read["items"][0]["name"], ORGS[0].name);
    let (stdout, _) = listed(options(Format::Yaml), Screen::TERMINAL);
    assert!(!stdout.contains('\x1b') && !stdout.contains('\u{202e}'), "{stdout:?}");
}

#[test]
fn pieces_make_the_same_list_as_the_whole() {
    let formats = [Format::Table, Format::Json, Format::Jsonl, Format::Yaml, Format::Csv, Format::Name];
    for (format, screen) in formats.iter().flat_map(|format| [(*format, Screen::PIPE), (*format, Screen::TERMINAL)]) {
        let column = || [Column { header: "slug", priority: ALWAYS, cell: |org: &Org, _: &Look| Cell::text(org.slug) }];
        let heading = Heading { kind: "OrgList", name: |org: &Org| org.slug.into(), empty: "none" };
        let print = |size: usize| {
            let (output, captured) = Output::captured(options(format), screen, &[]);
            let pieces = ORGS.chunks(size).map(Ok);
            output.stream(&heading, column(), pieces, || vec!["more".into()]).unwrap();
            captured.stdout()
        };
        let whole = print(2);
        // A column is as wide as its first piece, and a key is never cut.
        if (format, screen.stdout) != (Format::Table, true) {
            assert_eq!(print(1), whole, "{format:?}");
        }
        if format == Format::Json {
            let read: serde_json::Value = serde_json::from_str(&whole).unwrap();
            let spread = serde_json::to_string_pretty(&read).unwrap().lines().count();
            assert_eq!(whole.lines().count(), if screen.stdout { spread } else { 1 });
        }
    }
}

#[test]
fn a_piece_is_written_before_the_next_is_made() {
    for format in [Format::Table, Format::Json, Format::Jsonl, Format::Yaml, Format::Csv, Format::Name] {
        let (output, captured) = Output::captured(options(format), Screen::PIPE, &[]);
        let heading = Heading { kind: "OrgList", name: |org: &Org| org.slug.into(), empty: "none" };
        let column = [Column { header: "slug", priority: ALWAYS, cell: |org: &Org, _: &Look| Cell::text(org.slug) }];
        let mut before = 0;
        let pieces = (0..20).map(|number| {
            let written = captured.stdout().len();
            assert!(number == 0 || written > before, "{format:?}");
            before = written;
            Ok(&ORGS)
        });
        output.stream(&heading, column, pieces, Vec::new).unwrap();
    }
}

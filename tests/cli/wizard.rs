//! The wizard of `org create`, on a terminal of its own.

use rexpect::session::{PtySession, spawn_command};

use crate::support::{World, world};

struct Wizard(PtySession);

impl Wizard {
    fn start(world: &mut World, line: &str) -> Wizard {
        world.set("TERM", "xterm");
        world.set("NO_COLOR", "1");
        Wizard(spawn_command(world.command(line), Some(20_000)).unwrap())
    }

    fn sees(&mut self, text: &str) -> &mut Wizard {
        self.0.exp_string(text).unwrap_or_else(|error| panic!("waiting for `{text}`: {error}"));
        self
    }

    fn types(&mut self, line: &str) -> &mut Wizard {
        self.0.send_line(line).unwrap();
        self
    }

    fn presses(&mut self, keys: &str) -> &mut Wizard {
        self.0.send(keys).unwrap();
        self.0.flush().unwrap();
        self
    }

    fn ends(&mut self, exit: i32) {
        self.0.exp_eof().unwrap();
        let status = format!("{:?}", self.0.process().wait().unwrap());
        // Ctrl-C between two keys is a signal, which shells report as 130 as well.
        let signaled = exit == 130 && status.contains("SIGINT");
        assert!(signaled || status.starts_with("Exited(") && status.ends_with(&format!(", {exit})")), "{status}");
    }
}

fn organizations(world: &World) -> usize {
    world.json("org list --all")["items"].as_array().unwrap().len()
}

#[test]
fn three_steps_lead_to_an_organization() {
    let mut world = world();
    let mut wizard = Wizard::start(&mut world, "org create");
    wizard.sees("Step 1 of 3").sees("Name").types("Acme Training Ltd");
    wizard
        .sees("Subdomain, like acme for acme.aivii.co.uk")
        .sees("acme-training")
        .types("acme")
        .sees("-> acme.aivii.co.uk");
    wizard.sees("Most learners").types("500");
    wizard.sees("Step 2 of 3").sees("Aptem + HubSpot ").sees(" recommended   (aptem, hubspot)").types("");
    wizard.sees("Step 3 of 3").sees("Billing contact").types("Ann Lee");
    wizard.sees("Billing e-mail").types("ann@acme.example");
    wizard.sees("acme.aivii.co.uk").sees("500").sees("Ann Lee").sees("Europe/London");
    wizard.sees("Aptem: synced hourly").sees("LMS_Provider = \"Aptem\"").sees("tutor sees learner-progress");
    wizard.sees("Create Acme Training Ltd?").presses("y").sees("acme: created").ends(0);
    let shown = world.json("org show acme");
    assert_eq!((shown["preset"].as_str(), shown["max_learners"].as_u64()), (Some("aptem_hubspot"), Some(500)));
    assert_eq!(shown["billing_email"], "ann@acme.example");
}

#[test]
fn answers_are_checked_at_once() {
    let mut world = world();
    world.create("acme", "bud");
    let mut wizard = Wizard::start(&mut world, "org create");
    wizard.sees("Name").types(" ").sees("cannot be empty").types("Globex");
    wizard.sees("Subdomain").types("www").sees("reserved").types("acme").sees("taken by Org acme").types("globex");
    wizard.sees("Most learners").types("0").sees("at least 1").types("");
    wizard.sees("Preset").types("").sees("Billing contact").types("");
    wizard.sees("Billing e-mail").types("nobody").sees("not an e-mail address").types("");
    wizard.sees("Create Globex?").presses("y").sees("globex: created").ends(0);
}

#[test]
fn every_question_has_a_way_back() {
    let mut world = world();
    let mut wizard = Wizard::start(&mut world, "org create");
    wizard.sees("Name").types("<").sees("first question").sees("Name").types("Acme");
    wizard.sees("Subdomain").types("<").sees("Name").sees("Acme").types("Acme Two");
    wizard.sees("Subdomain").types("acme").sees("Most learners").types("<").sees("Subdomain").sees("acme").types("");
    wizard.sees("Most learners").types("").sees("Preset").presses("\x1b").sees("Most learners").types("7");
    // Down once: the first after the recommended one.
    wizard
        .sees("Aptem   (aptem)")
        .presses("\x1b[B")
        .types("")
        .sees("Billing contact")
        .types("<")
        .sees("Preset")
        .types("");
    wizard.sees("Billing contact").types("").sees("Billing e-mail").types("<").sees("Billing contact").types("");
    wizard.sees("Billing e-mail").types("").sees("Create Acme Two?").presses("\x1b").sees("Billing e-mail").types("");
    wizard.sees("Create Acme Two?").presses("y").sees("acme: created").ends(0);
    let shown = world.json("org show acme");
    assert_eq!((shown["name"].as_str(), shown["max_learners"].as_u64()), (Some("Acme Two"), Some(7)));
    assert_eq!(shown["preset"], "aptem");
}

#[test]
fn leaving_at_any_question_writes_nothing() {
    let mut world = world();
    let answers = ["Acme", "acme", "", "", "", ""];
    let questions =
        ["Name", "Subdomain", "Most learners", "Preset", "Billing contact", "Billing e-mail", "Create Acme?"];
    for until in 0..questions.len() {
        let mut wizard = Wizard::start(&mut world, "org create");
        for (question, answer) in questions.iter().zip(answers).take(until) {
            wizard.sees(question).types(answer);
        }
        wizard.sees(questions[until]).presses("\x03").ends(130);
        assert_eq!(organizations(&world), 0, "left at {}", questions[until]);
    }
}

#[test]
fn a_no_at_the_end_writes_nothing() {
    let mut world = world();
    let mut wizard = Wizard::start(&mut world, "org create --name Acme --subdomain acme --preset bud");
    wizard.sees("acme: created").ends(0);
    let line =
        "org create --name Globex --subdomain globex --billing-name A --billing-email a@b.example --max-learners 3";
    let mut wizard = Wizard::start(&mut world, line);
    wizard.sees("Preset").types("").sees("Create Globex?").presses("n").sees("nothing was changed").ends(130);
    assert_eq!(organizations(&world), 1);
}

#[test]
fn a_change_that_can_be_undone_is_shown_and_asked_for() {
    let mut world = world();
    world.create("acme", "bud");
    let mut terminal = Wizard::start(&mut world, "org set-preset acme aptem");
    terminal.sees("- bud: synced hourly").sees("Move Org acme (acme) to Aptem defaults 1?").presses("n").ends(130);
    assert_eq!(world.json("org show acme")["preset"], "bud");
    let mut terminal = Wizard::start(&mut world, "org set-preset acme aptem");
    terminal.sees("Move Org acme").presses("y").sees("acme: moved").ends(0);
    let mut terminal = Wizard::start(&mut world, "org delete acme");
    terminal.sees("go to the trash").sees("Delete Org acme (acme)?").presses("y").sees("acme: deleted").ends(0);
}

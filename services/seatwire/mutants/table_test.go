package mutants

// Packages of the judges.
const (
	deprovisioner = "services/deprovisioner"
	fetcher       = "services/fetcher"
	normalizer    = "services/normalizer"
	publisher     = "services/productiv-publisher"
)

// table is the 32 bugs of shared/research/reliability.md section 3.9, in its order, and those that the fault bench found
// in earlier trees of ours.
var table = []mutant{
	{
		name: "ack before publish", invariant: "I-01",
		edits: []edit{{normalizer + "/normalizer.go",
			"	if bus.IsKeyExists(err) {\n		return nil\n	}\n	return err",
			"	if err != nil && !bus.IsKeyExists(err) {\n		return nil\n	}\n	return nil"}},
		dir: normalizer, judge: "TestPage",
	},
	{
		name: "ack before ledger", invariant: "I-01",
		edits: []edit{{deprovisioner + "/intake.go",
			"		case err := <-entry.done:\n			return err\n", "		default:\n			return nil\n"}},
		dir: deprovisioner, judge: "TestIntakeAnswersAfterTheLedger",
	},
	{
		name: "no manifest check", invariant: "I-05",
		edits: []edit{{"pkg/roster/read.go", "	if root != m.Root {", "	if len(root) != len(m.Root) {"}},
		dir:   "pkg/roster", judge: "TestVerify",
	},
	{
		name: "manifest with missing page accepted", invariant: "I-05",
		edits: []edit{{publisher + "/arrive.go", "	if there < m.Pages {", "	if there < 0 {"},
			{"pkg/roster/read.go", "if missing := slices.Index(there, false); missing >= 0 {", "if missing := slices.Index(there, false); missing > len(there) {"}},
		dir: "pkg/roster", judge: "TestVerify",
	},
	{
		name: "seen-cursor set removed", invariant: "I-05",
		edits: []edit{{fetcher + "/order.go", "	case p.hasNext && repeated:", "	case p.hasNext && repeated && len(o.seen) == 0:"}},
		dir:   fetcher, judge: "TestOrder",
	},
	{
		name: "errors ignored", invariant: "I-05",
		edits: []edit{{"pkg/pluralsight/exchange.go", "	case len(env.errors) > 0:", "	case len(env.errors) > 0 && !env.hasData:"}},
		dir:   "pkg/pluralsight", judge: "TestUsers_NothingPassesAsAnEmptyPage",
	},
	{
		name: "empty set accepted", invariant: "I-08",
		edits: []edit{{publisher + "/guard.go", "	case p.desired == 0 && p.published > 0 && !g.AllowEmpty:", "	case p.desired < 0:"}},
		dir:   publisher, judge: "TestGuard_limits",
	},
	{
		name: "threshold vs last fetched, not published", invariant: "I-08",
		edits: []edit{{publisher + "/converge.go", "		x.published = t.Published.People", "		x.published = p.counts.Fetched"}},
		dir:   publisher, judge: "TestHold",
	},
	{
		name: "percent without floor", invariant: "I-08",
		edits: []edit{{publisher + "/guard.go", "{ return max(1, (people*percent+99)/100) }", "{ return (people*percent + 99) / 100 }"}},
		dir:   publisher, judge: "TestGuard_limits",
		note: "percentages are of people, rounded up, and never below one person",
	},
	{
		name: "approval not bound to hash", invariant: "I-02",
		edits: []edit{{deprovisioner + "/batch.go",
			"	case a.SHA256 != b.SHA256 || hex.EncodeToString(sum[:]) != b.SHA256:", "	case len(sum) == 0:"}},
		dir: deprovisioner, judge: "TestAuthoriseSaysNoToEveryDoubt",
	},
	{
		name: "approval reusable", invariant: "I-02",
		edits: []edit{{deprovisioner + "/batch.go", "now.Sub(a.At) > approvalLife:", "now.Sub(a.At) > 1000*approvalLife:"}},
		dir:   deprovisioner, judge: "TestAuthoriseSaysNoToEveryDoubt",
		note: "a hold takes one decision, by its key in the ledger, and its approval is spent by the answer; here it does not expire",
	},
	{
		name: "self-approval", invariant: "I-02",
		edits: []edit{
			{deprovisioner + "/batch.go", "	case r.Apply == applyReview:\n", "	case r.Apply == applyReview && people == 0:\n"},
			{deprovisioner + "/batch.go", "	case a.By == deprovision.Auto && r.Apply != applyAuto:\n", "	case a.By == deprovision.Auto && r.Apply == \"\":\n"}},
		dir: deprovisioner, judge: "TestSimulation",
		note: "approvals carry a name only, so: in review the service approves its own batch",
	},
	{
		name: "removal of users we never added", invariant: "I-08",
		edits: []edit{{publisher + "/compare.go", `	case !ours || u.Email == "":`, `	case !ours && u.Email == "":`}},
		dir:   publisher, judge: "TestComparison_appliedTwiceIsTheRoster",
	},
	{
		name: "retry without read-back", invariant: "I-12",
		edits: []edit{{deprovisioner + "/load.go",
			`		b.answered(batch, deprovision.Answer{At: now, Fault: "process-died"}, now)`,
			`		b.update(batch, toState(*batch, deprovision.BatchApproved, "", now), now)`}},
		dir: deprovisioner, judge: "TestSimulation",
	},
	{
		name: "400 taken for not applied", invariant: "I-12",
		edits: []edit{{deprovisioner + "/vendor.go",
			"	if err != nil && answer.HTTP == 0 && class", "	if answer.HTTP == 400 || err != nil && answer.HTTP == 0 && class"},
			{deprovisioner + "/vendor.go",
				"		in.trouble = troubleOf(err)\n		return in\n	}\n	return sent{", "		in.trouble = trouble{reason: \"refused\"}\n		return in\n	}\n	return sent{"}},
		dir: deprovisioner, judge: "TestSimulation",
	},
	{
		name: "200 taken for applied", invariant: "I-15",
		edits: []edit{{deprovisioner + "/book_batches.go",
			"	if !in.unsent {\n",
			"	if !in.unsent && in.answer.Final && !in.answer.Errored {\n		b.endRows(batch, deprovision.BatchSettled, deprovision.OutcomeRemoved, \"\", \"\", now)\n		return\n	}\n	if !in.unsent {\n"}},
		dir: deprovisioner, judge: "TestSimulation",
	},
	{
		name: "success not checked", invariant: "I-15",
		edits: []edit{{"pkg/productiv/answer.go",
			"err != nil || a.Success == nil || !*a.Success {\n		return struct{}{}", "err != nil || a.Success == nil {\n		return struct{}{}"}},
		dir: "pkg/productiv", judge: "TestClient_Bodies",
	},
	{
		name: "count not checked", invariant: "I-05",
		edits: []edit{{fetcher + "/order.go", "	case !p.hasNext && o.nodes < o.total:", "	case !p.hasNext && o.nodes < 0:"}},
		dir:   fetcher, judge: "TestOrder",
		note: "totalCount; how many Productiv says it deleted decides nothing, reading back does",
	},
	{
		name: "unknown status = success", invariant: "I-15",
		edits: []edit{{"pkg/pluralsight/answer.go", "		return s\n	}\n	return Other\n}", "		return s\n	}\n	return Successful\n}"}},
		dir:   "pkg/pluralsight", judge: "TestParseStatus",
	},
	{
		name: "protected check only at accept", invariant: "I-04",
		edits: []edit{{deprovisioner + "/people.go", "	case rules.protected(addresses...):", "	case len(addresses) == 0:"}},
		dir:   deprovisioner, judge: "TestSimulation",
	},
	{
		name: "email-only match", invariant: "I-02",
		edits: []edit{{deprovisioner + "/people.go",
			"	case r.PsUserID != \"\" && byEmail != \"\" && byEmail != r.PsUserID:\n		return pluralsight.User{}, deprovision.ReasonAmbiguousUser\n",
			"	case byEmail != \"\":\n		return p.byID[byEmail], \"\"\n"}},
		dir: deprovisioner, judge: "TestSimulation",
	},
	{
		name: "plus-tags folded", invariant: "I-04",
		edits: []edit{{"pkg/roster/email.go", "	if isASCII(email) {\n",
			"	if local, domain, ok := strings.Cut(email, \"@\"); ok {\n		local, _, _ = strings.Cut(local, \"+\")\n		email = local + \"@\" + domain\n	}\n	if isASCII(email) {\n"}},
		dir: "pkg/roster", judge: "TestFoldEmail",
	},
	{
		name: "newest-wins by arrival", invariant: "I-14",
		edits: []edit{{deprovisioner + "/people.go", "	case u.StartedOn.After(r.Time):", "	case u.StartedOn.After(r.AcceptedAt):"}},
		dir:   deprovisioner, judge: "TestSimulation",
	},
	{
		name: "age check off", invariant: "I-13",
		edits: []edit{{deprovisioner + "/request.go", "	case now.Sub(e.Time) > r.MaxEventAge, e.Time", "	case e.Time"}},
		dir:   deprovisioner, judge: "TestSimulation",
	},
	{
		name: "ledger TTL shorter than max age", invariant: "I-11",
		edits: []edit{{"pkg/streams/deprovision.go", "			MaxMsgsPerSubject: 1, MaxBytes: 2 * gib,", "			MaxMsgsPerSubject: 1, MaxAge: day, MaxBytes: 2 * gib,"}},
		dir:   "pkg/streams", judge: "TestFor_keepsWhatTheContractPromises",
		note: "the ledger has no TTL at all; here it gets one",
	},
	{
		name: "dedupe by message id only", invariant: "I-01",
		edits: []edit{{deprovisioner + "/request.go", "Key: e.Key(r.connection, publisher), Publisher", "Key: events.Key(r.connection, e.ID), Publisher"}},
		dir:   deprovisioner, judge: "TestSimulation",
	},
	{
		name: "lease not re-checked", invariant: "I-07",
		edits: []edit{{publisher + "/apply.go", "	if err := t.hold.renew(ctx, t.delivery); err != nil {\n		return err\n	}\n", ""}},
		dir:   publisher, judge: "TestSend_asksForTheLaneFirst",
	},
	{
		name: "compare-and-set as read-then-write", invariant: "I-07",
		edits: []edit{{deprovisioner + "/store.go",
			"		jetstream.ExpectedLastSubjSeqHeader:     {fence},\n		jetstream.ExpectedLastSubjSeqSubjHeader: {laneSubject(s.connection)},\n", ""}},
		dir: deprovisioner, judge: "TestLostLaneWritesNothing",
	},
	{
		name: "DLQ after ack", invariant: "I-17",
		edits: []edit{{"pkg/bus/giveup.go", "		return errors.Join(err, putErr)\n", "		return nil\n"}},
		dir:   "pkg/bus", judge: "TestRouter_deadLetterStreamFull",
	},
	{
		name: "redrive skips checks", invariant: "I-19",
		edits: []edit{{deprovisioner + "/intake.go", "	if base == events.DeprovisionRequestedSubject {\n		request := ",
			"	if base == events.DeprovisionRequestedSubject {\n		if d.Header.Get(\"Seatwire-Replays\") != \"\" {\n			r.MaxEventAge, r.Protect = 1<<62, nil\n		}\n		request := "}},
		dir: deprovisioner, judge: "TestReplayedEventPassesEveryCheck",
	},
	{
		name: "secret in error string", invariant: "I-22",
		edits: []edit{{"pkg/config/secret.go", "func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }",
			"func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.place().ref) }"}},
		dir: "pkg/config", judge: "TestSecret_IsNeverPrinted",
	},
	{
		name: "tenant from payload", invariant: "I-10",
		edits: []edit{{deprovisioner + "/request.go",
			"	case data.Connection != \"\" && data.Connection != r.connection:\n		return settled(req, deprovision.OutcomeRejected, deprovision.ReasonWrongConnection, now)\n",
			"	case data.Connection != \"\" && data.Connection != r.connection:\n		req.Connection = data.Connection\n"}},
		dir: deprovisioner, judge: "TestSimulation",
	},
	{
		name: "noted before it is loaded", invariant: "I-01",
		edits: []edit{{deprovisioner + "/tenure.go", "	if t.told.Ledger < t.fence {\n		return nil\n	}\n", ""}},
		dir:   deprovisioner, judge: "TestSimulation",
		note: "left 28 of 50,861 requests open for ever",
	},
	{
		name: "a lagging replica is believed", invariant: "I-08",
		edits: []edit{{deprovisioner + "/store.go",
			"there != nil && there.Sequence >= upTo.sequence", "there != nil || err == nil"}},
		dir: deprovisioner, judge: "TestLast_waitsForAReplicaThatKnows",
		note: "spends a day's budget twice",
	},
	{
		name: "a pause that any replica answers for", invariant: "I-02",
		edits: []edit{{"pkg/streams/read.go",
			"	return askLeader(ctx, b.js, stream, map[string]any{\"last_by_subj\": filter})\n",
			"	s, err := b.js.Stream(ctx, stream)\n	if err != nil {\n		return nil, err\n	}\n	return s.GetLastMsgForSubject(ctx, filter)\n"}},
		dir: "pkg/state", judge: "TestGet_asksTheLeader",
	},
}

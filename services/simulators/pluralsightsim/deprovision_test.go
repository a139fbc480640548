package pluralsightsim_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

const (
	header  = "id,email,first_name,last_name\n"
	rowA    = "sso-aa,aa@acme.example.com,A,A\n"
	rowB    = "sso-ab,ab@acme.example.com,B,B\n"
	rowX    = "unknown,unknown@acme.example.com,X,X\n"
	success = `200 {"status":"Completed Successfully"}`
	invalid = `400 {"status":"Validation Completed With Errors"}`
	errored = `400 {"status":"Completed With Errors"}`
	process = `200 {"status":"Processing"}`
	noFiles = `400 {"status":"No files"}`
)

func (b *bench) csv(flags, body string) *http.Request {
	b.t.Helper()
	req := b.post("/deprovision?"+flags, key, []byte(body))
	req.Header.Set("Content-Type", "text/csv")
	req.Header.Set("Content-Disposition", `attachment; filename="deprovision.csv"`)
	return req
}

// deprovision sends a file and returns the answer as "status body".
func (b *bench) deprovision(flags, body string) string {
	b.t.Helper()
	a := b.send(b.csv(flags, body))
	if a.err != nil {
		return a.err.Error()
	}
	return strconv.Itoa(a.status) + " " + a.body
}

// off lists who of the plan is not on the account.
func (b *bench) off() string {
	b.t.Helper()
	all, err := b.sim.People("acme", 0, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for _, p := range all {
		if p.IsOnAccount != sim.Yes {
			ids = append(ids, strings.TrimPrefix(p.PsUserID, "id-"))
		}
	}
	return strings.Join(ids, " ")
}

func (b *bench) last() *sim.DeprovisionCall {
	all := b.sim.Requests()
	return all[len(all)-1].Deprovision
}

const apply = "dryRun=false"

func TestDeprovision(t *testing.T) {
	t.Parallel()
	none := func(*sim.DeprovisionSwitches) {}
	for _, tc := range []struct {
		name   string
		change func(*sim.DeprovisionSwitches)
		flags  string
		body   string
		answer string
		off    string
	}{
		{"a dry run is the default", none, "", header + rowA, success, ""},
		{"dryRun=true", none, "dryRun=true&exitOnError=false&reatinPrivileges=false", header + rowA, success, ""},
		{"apply", none, apply, header + rowA + rowB, success, "aa ab"},
		{"CRLF", none, apply, strings.ReplaceAll(header+rowA+rowB, "\n", "\r\n"), success, "aa ab"},
		{"another header", none, apply, "ID,email,first_name,last_name\n" + rowA, invalid, ""},
		{"a byte-order mark", none, apply, "\ufeff" + header + rowA, invalid, ""},
		{"an empty body", none, apply, "", noFiles, ""},
		{"a bad row is dropped", none, apply, header + "sso-ab,,B,B\n" + rowA, invalid, "aa"},
		{"a bad row stops everything", none, apply + "&exitOnError=true", header + "sso-ab,,B,B\n" + rowA, invalid, ""},
		{"a bad row holds the good ones back", func(s *sim.DeprovisionSwitches) { s.GoodRows = "skip" }, apply, header + "sso-ab,,B,B\n" + rowA, invalid, ""},
		{"a row of five fields", none, apply, header + rowA + "sso-ab,ab@acme.example.com,B,B,B\n", invalid, "aa"},
		{"quotes", none, apply, header + "sso-aa,aa@acme.example.com,\"A, the first\",A\n", success, "aa"},
		{"quotes break the naive parser", func(s *sim.DeprovisionSwitches) { s.Parser = "naive" }, apply,
			header + "sso-aa,aa@acme.example.com,\"A, the first\",A\n" + rowB, invalid, "ab"},
		{"the naive parser reads plain rows", func(s *sim.DeprovisionSwitches) { s.Parser = "naive" }, apply, header + rowA, success, "aa"},
		{"a refused row", func(s *sim.DeprovisionSwitches) { s.RefuseRows = []string{"sso-ab"} }, apply, header + rowA + rowB, invalid, "aa"},
		{"duplicates refuse the file", none, apply, header + rowA + rowA, invalid, ""},
		{"the later duplicate is dropped", func(s *sim.DeprovisionSwitches) { s.Duplicates = "drop-one" }, apply, header + rowA + rowA, invalid, "aa"},
		{"both duplicates are dropped", func(s *sim.DeprovisionSwitches) { s.Duplicates = "drop-both" }, apply,
			header + rowA + "other,AA@acme.example.com,,\n" + rowB, invalid, "ab"},
		{"unknown rows are ignored", none, apply, header + rowX + rowA, success, "aa"},
		{"unknown rows are errors", func(s *sim.DeprovisionSwitches) { s.UnknownRows = "error" }, apply, header + rowX + rowA, errored, "aa"},
		{"and stop a strict run", func(s *sim.DeprovisionSwitches) { s.UnknownRows = "error" }, apply + "&exitOnError=true", header + rowX + rowA, errored, ""},
		{"an unknown flag is ignored", none, apply + "&foo=1", header + rowA, success, "aa"},
		{"an unknown flag is rejected", func(s *sim.DeprovisionSwitches) { s.UnknownFlags = "reject" }, apply + "&foo=1", header + rowA,
			`400 {"error":"Unknown query parameter"}`, ""},
		{"a dryRun nobody understands is a dry run", none, "dryRun=nein", header + rowA, success, ""},
		{"processing", func(s *sim.DeprovisionSwitches) { s.Answer = "processing" }, apply, header + rowA, process, "aa"},
		{"a dry run is not processing", func(s *sim.DeprovisionSwitches) { s.Answer = "processing" }, "", header + rowA, success, ""},
		{"unless it is", func(s *sim.DeprovisionSwitches) { s.Answer, s.ProcessingDryRuns = "processing", true }, "", header + rowA, process, ""},
		{"no effect", func(s *sim.DeprovisionSwitches) { s.Effect = "none" }, apply, header + rowA, success, ""},
		{"an id hits somebody else", none, apply, header + "sso-ab,aa@acme.example.com,A,A\n", success, "ab"},
		{"an unknown id hits by address", none, apply, header + "id-aa,AA@acme.example.com,A,A\n", success, "aa"},
		{"an additional address", none, apply, header + "none,old@acme.example.com,,\n", success, "ac"},
		{"a primary address wins over an additional one", none, apply, header + "none,ab@acme.example.com,,\n", success, "ab"},
		{"whoever comes first", none, apply, header + "none,ac@acme.example.com,,\n", success, "ac"},
		{"typographic quotes", func(s *sim.DeprovisionSwitches) { s.BodyForm = "typographic" }, "", header + rowA,
			"200 {\n  “status”: “Completed Successfully”,\n}\n", ""},
		{"more members", func(s *sim.DeprovisionSwitches) { s.BodyForm = "extra" }, "", header + rowA,
			`200 {"requestId":"r-1","status":"Completed Successfully","rows":1}`, ""},
		{"text", func(s *sim.DeprovisionSwitches) { s.BodyForm = "text" }, "", header + rowA, "200 Completed Successfully\n", ""},
		{"an unknown status", func(s *sim.DeprovisionSwitches) { s.StatusText, s.StatusCode = "Queued", 202 }, apply, header + rowA, `202 {"status":"Queued"}`, "aa"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			start := people(3)
			start[0].AdditionalEmails = []string{"ac@acme.example.com"}
			start[2].AdditionalEmails = []string{"old@acme.example.com", "ab@acme.example.com"}
			b := setup(t, start...)
			b.configure(func(s *sim.Switches) { tc.change(&s.Deprovision) })
			b.want(b.deprovision(tc.flags, tc.body), tc.answer)
			b.want(b.off(), tc.off)
		})
	}
}

func TestDeprovisionNeedsAFile(t *testing.T) {
	t.Parallel()
	b := setup(t, people(1)...)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Content-Disposition": `attachment; filename="people.csv"`,
	} {
		req := b.csv(apply, header+rowA)
		req.Header.Set(name, value)
		a := b.send(req)
		b.want([]any{a.status, a.body}, []any{400, `{"status":"No files"}`})
	}
	b.want(b.off(), "")
}

func TestDeprovisionKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	req := b.csv(apply, header+rowA)
	req.SetBasicAuth("pluralsight", key)
	b.want(b.send(req).status, 200)
	b.want(b.sim.Requests()[0].AuthScheme, "Basic")
	req = b.csv(apply, header+rowB)
	req.SetBasicAuth("pluralsight", "wrong")
	b.want(b.send(req).status, 401)
	b.configure(func(s *sim.Switches) { s.Auth.ReadOnly = true })
	b.want(b.deprovision(apply, header+rowB)[:3], "403")
	b.want(b.off(), "aa")
}

func TestPrivileges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ accepts, sent, kept string }{
		{"misspelt", "reatinPrivileges", "kept"}, {"misspelt", "retainPrivileges", "stripped"},
		{"correct", "reatinPrivileges", "stripped"}, {"correct", "retainPrivileges", "kept"},
		{"both", "reatinPrivileges", "kept"}, {"both", "retainPrivileges", "kept"},
	} {
		start := people(1)
		start[0].Admin, start[0].ManagerOf = true, []string{"10"}
		b := setup(t, start...)
		b.configure(func(s *sim.Switches) { s.Deprovision.Privileges = tc.accepts })
		b.want(b.deprovision(apply+"&"+tc.sent+"=true", header+rowA), success)
		p, err := b.sim.Person("acme", "id-aa")
		if err != nil {
			t.Fatal(err)
		}
		if kept := p.Admin && p.ManagerOf != nil; kept != (tc.kept == "kept") {
			t.Errorf("accepting %s, sent %s: %+v", tc.accepts, tc.sent, p)
		}
		b.want(b.last().RetainPrivileges, tc.kept == "kept")
		want := `{"data":{"teamManagers":{"nodes":[]}}}`
		if tc.kept == "kept" {
			want = `{"data":{"teamManagers":{"nodes":[{"psUserId":"id-aa","teamId":"10"}]}}}`
		}
		b.want(b.raw("{ teamManagers { nodes { psUserId teamId } } }", nil).body, want)
	}
}

func TestWhatIsRemoved(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		change   func(*sim.DeprovisionSwitches)
		flags    string
		teams    int
		products int
	}{
		{func(*sim.DeprovisionSwitches) {}, apply, 0, 0},
		{func(*sim.DeprovisionSwitches) {}, apply + "&removeUsers=false", 0, 0},
		{func(s *sim.DeprovisionSwitches) { s.Removes = "licence" }, apply, 1, 0},
		{func(s *sim.DeprovisionSwitches) { s.RemoveUsersFlag = true }, apply + "&removeUsers=false", 1, 0},
		{func(s *sim.DeprovisionSwitches) { s.KeepProducts = true }, apply, 0, 1},
	} {
		start := people(1)
		start[0].Teams = []string{"10"}
		b := setup(t, start...)
		b.configure(func(s *sim.Switches) { tc.change(&s.Deprovision) })
		b.want(b.deprovision(tc.flags, header+rowA), success)
		p, err := b.sim.Person("acme", "id-aa")
		if err != nil {
			t.Fatal(err)
		}
		b.want([]any{p.IsOnAccount, p.RemovedOn, len(p.Teams), len(p.ProductIDs)}, []any{sim.No, noon, tc.teams, tc.products})
	}
}

func TestRowsOfTheRemovedAndOfAdmins(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		change func(*sim.DeprovisionSwitches)
		answer string
		off    string
	}{
		{func(*sim.DeprovisionSwitches) {}, success, "aa ab"},
		{func(s *sim.DeprovisionSwitches) { s.RemovedRows = "error" }, errored, "aa ab"},
		{func(s *sim.DeprovisionSwitches) { s.AdminRows = "ignore" }, success, "ab"},
		{func(s *sim.DeprovisionSwitches) { s.AdminRows = "error" }, errored, "ab"},
	} {
		start := people(2)
		start[0].Admin, start[1].IsOnAccount = true, sim.No
		b := setup(t, start...)
		b.configure(func(s *sim.Switches) { tc.change(&s.Deprovision) })
		b.want([]any{b.deprovision(apply, header+rowA+rowB), b.off()}, []any{tc.answer, tc.off})
	}
}

func TestCollisions(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string][]any{
		"first": {success, "aa"}, "all": {success, "aa ab"}, "error": {errored, ""},
	} {
		start := people(2)
		start[1].Email = start[0].Email
		b := setup(t, start...)
		b.configure(func(s *sim.Switches) { s.Deprovision.Collisions = policy })
		b.want([]any{b.deprovision(apply, header+"none,aa@acme.example.com,,\n"), b.off()}, want)
	}
}

func TestEffectsThatComeLater(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	b.configure(func(s *sim.Switches) {
		s.Deprovision.Answer, s.Deprovision.EffectDelay = "processing", sim.Duration(time.Hour)
	})
	b.want([]any{b.deprovision(apply, header+rowA), b.off()}, []any{process, ""})
	b.want([]any{b.counts().Pending, b.last().Planned, b.last().Applied}, []any{1, []string{"id-aa"}, nil})
	b.sim.Advance(59 * time.Minute)
	b.want(b.off(), "")
	b.sim.Advance(2 * time.Minute)
	p := b.page(nil).Nodes[0]
	b.want([]any{*p.IsOnAccount, *p.RemovedOn}, []any{false, "2026-11-23T13:00:00.000Z"})
	jobs, err := b.sim.Jobs("acme")
	if err != nil {
		t.Fatal(err)
	}
	b.want([]any{len(jobs), jobs[0].Done, jobs[0].Applied, b.counts().Applied}, []any{1, true, []string{"id-aa"}, 1})
	b.want(b.sim.Requests()[0].Deprovision.Applied, []string{"id-aa"})
	b.want(b.sim.History()[0].Cause, "deprovision request 1")
}

func TestPartialEffects(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	file.WriteString(header)
	for _, p := range people(60) {
		file.WriteString(p.CurrentSsoIdentifier + "," + p.Email + ",,\n")
	}
	var runs []string
	for range 2 {
		b := setup(t, people(60)...)
		b.configure(func(s *sim.Switches) { s.Deprovision.Effect = "partial" })
		b.want(b.deprovision(apply, file.String()), success)
		runs = append(runs, b.off())
		if n := len(b.last().Applied); n < 10 || n > 50 || len(b.last().Planned) != 60 {
			t.Errorf("%d of 60 were removed", n)
		}
	}
	if runs[0] != runs[1] {
		t.Error("the same seed removed others")
	}
}

func TestConcurrentJobs(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string][]string{
		"accept": {process, process, "aa ab", "aa ab"}, "queue": {process, process, "aa", "aa ab"},
		"conflict": {process, `409 {"error":"A deprovision is already in progress"}`, "aa", "aa"},
	} {
		b := setup(t, people(2)...)
		b.configure(func(s *sim.Switches) {
			s.Deprovision.Answer, s.Deprovision.EffectDelay, s.Deprovision.Concurrent = "processing", sim.Duration(time.Hour), policy
		})
		got := []string{b.deprovision(apply, header+rowA), b.deprovision(apply, header+rowB)}
		for range 2 {
			b.sim.Advance(time.Hour)
			got = append(got, b.off())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", policy, got, want)
		}
	}
}

func TestTheAnswerIsLostAfterApplying(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	no := false
	b.inject(sim.Fault{Match: sim.Match{Operation: "deprovision", DryRun: &no}, Action: sim.Reset, When: sim.After})
	b.want(b.deprovision("", header+rowA), success)
	if got := b.deprovision(apply, header+rowA); strings.HasPrefix(got, "2") {
		t.Errorf("got an answer: %s", got)
	}
	b.want([]any{b.off(), b.last().Applied, b.last().Answer}, []any{"aa", []string{"id-aa"}, "Completed Successfully"})
}

func TestDeprovisionLedger(t *testing.T) {
	t.Parallel()
	b := setup(t, people(1)...)
	b.deprovision("dryRun=true&exitOnError=true&reatinPrivileges=true&retainPrivileges=false", header+rowA)
	b.want(*b.last(), sim.DeprovisionCall{
		DryRun: true, ExitOnError: true, RetainPrivileges: true, FileName: "deprovision.csv", Answer: "Completed Successfully",
		Flags:   map[string]string{"dryRun": "true", "exitOnError": "true", "reatinPrivileges": "true", "retainPrivileges": "false"},
		Rows:    []sim.Row{{ID: "sso-aa", Email: "aa@acme.example.com", FirstName: "A", LastName: "A"}},
		Planned: []string{"id-aa"},
	})
	b.want([]any{b.counts().Jobs, len(b.sim.History())}, []any{0, 0})
}

func TestManyFilesAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, people(40)...)
	var wg sync.WaitGroup
	for _, p := range people(40) {
		wg.Go(func() {
			req := b.csv(apply, header+p.CurrentSsoIdentifier+","+p.Email+",,\n")
			if a := b.send(req); a.status != 200 {
				t.Error(a)
			}
		})
	}
	wg.Wait()
	b.want(b.counts().Applied, 40)
	if _, err := b.sim.Person("acme", "id-zz"); !errors.Is(err, sim.ErrUnknownPerson) {
		t.Error(err)
	}
}

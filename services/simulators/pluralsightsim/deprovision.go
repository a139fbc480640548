package pluralsightsim

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The five documented status texts.
const (
	statusNoFiles          = "No files"
	statusProcessing       = "Processing"
	statusValidationErrors = "Validation Completed With Errors"
	statusErrors           = "Completed With Errors"
	statusSuccess          = "Completed Successfully"
)

// statusCodes are the documented HTTP statuses: 400 does not mean that nothing happened.
var statusCodes = map[string]int{
	statusNoFiles: 400, statusProcessing: 200, statusValidationErrors: 400, statusErrors: 400, statusSuccess: 200,
}

// deprovisionCall is one POST /deprovision.
type deprovisionCall struct {
	*exchange
	sim   *Sim
	flags flags
	sheet *sheet
	entry *DeprovisionCall // of the ledger
}

// flags are the URL's, as the plan understands them.
type flags struct {
	dryRun, exitOnError, retain, keepUsers bool
	unknown                                bool // one that the plan does not know, or whose value it does not
}

// deprovision understands a request to /deprovision.
func (s *Sim) deprovision(x *exchange) endpoint {
	d := &deprovisionCall{exchange: x, sim: s}
	sw := &x.sw.Deprovision
	query := x.URL.Query()
	d.flags = readFlags(query, sw)
	name := fileName(x.Header.Get("Content-Disposition"))
	if hasFile(x, name) {
		d.sheet = readSheet(x.body, sw)
	}
	d.entry = &DeprovisionCall{
		DryRun: d.flags.dryRun, ExitOnError: d.flags.exitOnError, RetainPrivileges: d.flags.retain, FileName: name,
		Flags: map[string]string{},
	}
	for k := range query {
		d.entry.Flags[k] = query.Get(k)
	}
	if d.sheet != nil {
		d.entry.Rows = d.sheet.rows
	}
	s.ledger.update(func() { x.line.Deprovision = d.entry })
	return d
}

func (d *deprovisionCall) describe() call {
	c := d.call()
	c.operations, c.dryRun = []string{"deprovision"}, &d.flags.dryRun
	return c
}

func fileName(disposition string) string {
	kind, params, err := mime.ParseMediaType(disposition)
	if err != nil || kind != "attachment" {
		return ""
	}
	return params["filename"]
}

// hasFile tells whether a file came: CSV, named as documented, not empty. The Workday EIB leaves the extension out.
func hasFile(x *exchange, name string) bool {
	kind, _, err := mime.ParseMediaType(x.Header.Get("Content-Type"))
	named := name == "deprovision.csv" || name == "deprovision"
	return err == nil && kind == "text/csv" && named && len(x.body) > 0
}

// readFlags applies the documented defaults. A flag under a spelling that the plan does not know changes nothing.
func readFlags(query url.Values, sw *DeprovisionSwitches) flags {
	f := flags{dryRun: true}
	var misspelt, correct bool
	removeUsers := true
	known := map[string]*bool{"dryRun": &f.dryRun, "exitOnError": &f.exitOnError}
	if sw.Privileges != "correct" {
		known["reatinPrivileges"] = &misspelt
	}
	if sw.Privileges != "misspelt" {
		known["retainPrivileges"] = &correct
	}
	if sw.RemoveUsersFlag {
		known["removeUsers"] = &removeUsers
	}
	for name := range query {
		into := known[name]
		value, err := strconv.ParseBool(query.Get(name))
		if into == nil || err != nil {
			f.unknown = true
			continue
		}
		*into = value
	}
	f.retain, f.keepUsers = misspelt || correct, !removeUsers
	return f
}

// work judges the file, and applies it unless this is a dry run. A dry run takes the same way to the same answer, so
// that what it says is worth something; it only leaves out the job.
func (d *deprovisionCall) work() {
	sw := &d.sw.Deprovision
	switch {
	case d.sw.Auth.ReadOnly:
		d.reply.fail(http.StatusForbidden, "json", "AuthorizationError: API Key lacks WRITE permission")
		return
	case d.flags.unknown && sw.UnknownFlags == "reject":
		d.reply.fail(http.StatusBadRequest, "json", "Unknown query parameter")
		return
	case d.sheet == nil:
		d.conclude(statusNoFiles)
		return
	}
	var status string
	d.plan.change(d.now, func() { status = d.judge(sw) })
	if status == "" {
		d.reply.fail(http.StatusConflict, "json", "A deprovision is already in progress")
		return
	}
	d.conclude(status)
}

// judge matches the rows and opens the job. "" means that another job is in the way.
func (d *deprovisionCall) judge(sw *DeprovisionSwitches) string {
	if !d.flags.dryRun && sw.Concurrent == "conflict" && len(d.plan.jobs) > 0 {
		return ""
	}
	people, rowErrors := d.plan.match(d.sheet.good(), sw)
	status := statusSuccess
	switch {
	case d.sheet.errors():
		status = statusValidationErrors
	case rowErrors:
		status = statusErrors
	}
	if status != statusSuccess && (d.flags.exitOnError || sw.GoodRows == "skip") || d.sheet.broken {
		return status
	}
	d.sim.ledger.update(func() { d.entry.Planned = people })
	if !d.flags.dryRun {
		d.plan.open(d, people)
	}
	if sw.Answer == "processing" && (!d.flags.dryRun || sw.ProcessingDryRuns) {
		return statusProcessing
	}
	return status
}

// match finds the people of rows, each once, and tells whether a row was an error.
func (p *plan) match(rows []Row, sw *DeprovisionSwitches) (people []string, rowErrors bool) {
	var scratch Person
	for _, row := range rows {
		slots, bad := p.matchRow(row, sw)
		rowErrors = rowErrors || bad
		for _, s := range slots {
			person := p.roster.at(s, &scratch)
			take, bad := judgePerson(person, sw)
			rowErrors = rowErrors || bad
			if take && !slices.Contains(people, person.PsUserID) {
				people = append(people, person.PsUserID)
			}
		}
	}
	return people, rowErrors
}

// matchRow looks by SSO id, then primary address, then additional address: the first that finds somebody decides. So a
// wrong id can still hit by address, and an id that is somebody else's hits that somebody.
func (p *plan) matchRow(row Row, sw *DeprovisionSwitches) (slots []int32, bad bool) {
	slots = p.roster.withSSO(row.ID)
	if len(slots) == 0 {
		slots = p.primaries(row.Email)
	}
	if len(slots) == 0 {
		slots = p.roster.withEmail(row.Email)
	}
	switch {
	case len(slots) == 0:
		return nil, sw.UnknownRows == "error"
	case len(slots) == 1 || sw.Collisions == "all":
		return slots, false
	case sw.Collisions == "error":
		return nil, true
	default:
		return slots[:1], false
	}
}

func (p *plan) primaries(email string) []int32 {
	var scratch Person
	return slices.DeleteFunc(p.roster.withEmail(email), func(s int32) bool {
		return !strings.EqualFold(p.roster.at(s, &scratch).Email, email)
	})
}

// judgePerson tells whether a matched person is taken, and whether that the row named him is an error.
func judgePerson(person *Person, sw *DeprovisionSwitches) (take, bad bool) {
	switch {
	case person.IsOnAccount != Yes:
		return false, sw.RemovedRows == "error"
	case person.Admin:
		return sw.AdminRows == "strip", sw.AdminRows == "error"
	default:
		return true, false
	}
}

// conclude writes the answer in the plan's form.
func (d *deprovisionCall) conclude(status string) {
	sw := &d.sw.Deprovision
	code := statusCodes[status]
	if sw.StatusText != "" {
		status = sw.StatusText
	}
	if sw.StatusCode != 0 {
		code = sw.StatusCode
	}
	d.sim.ledger.update(func() { d.entry.Answer = status })
	d.reply.status, d.reply.contentType = code, typeJSON
	quoted := string(appendString(nil, status))
	switch sw.BodyForm {
	case "typographic": // as printed in the documents: not JSON
		d.reply.body = []byte("{\n  “status”: “" + status + "”,\n}\n")
	case "extra":
		d.reply.body = []byte(`{"requestId":"r-` + strconv.Itoa(d.line.Seq) + `","status":` + quoted + `,"rows":` +
			strconv.Itoa(len(d.entry.Rows)) + `}`)
	case "text":
		d.reply.contentType, d.reply.body = typeText, []byte(status+"\n")
	case "html":
		d.reply.fail(code, "html", status)
	default:
		d.reply.body = []byte(`{"status":` + quoted + `}`)
	}
}

package pluralsightsim

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"
)

//go:embed page.tmpl
var pageSource string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// contentPolicy lets the page load its style and send its forms, and nothing else: what it shows came from others.
const contentPolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// shown is how many people, requests and changes the page lists.
const shown = 50

// view is what the page shows.
type view struct {
	State    State
	Plan     string
	Counts   Counts
	Email    string
	People   []Person
	Switches string
	Faults   []FaultState
	Jobs     []Job
	Requests []Request // newest first
	History  []Change  // newest first
	Error    string
}

// pages serves the page to steer the simulator by. Its forms are plain posts that come back to the page.
func (s *Sim) pages(mux *http.ServeMux) {
	mux.HandleFunc("GET /_sim/{$}", func(w http.ResponseWriter, r *http.Request) {
		s.render(w, s.look(r.FormValue("plan"), r.FormValue("email"), r.FormValue("error")))
	})
	mux.HandleFunc("GET /_sim/page.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_, _ = w.Write([]byte(pageStyle))
	})
	mux.HandleFunc("POST /_sim/page/{act}", s.steer)
}

func (s *Sim) render(w http.ResponseWriter, v *view) {
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", typeHTML)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(page.Bytes())
}

// look gathers the view of one plan, the first when none or an unknown one is named.
func (s *Sim) look(plan, email, message string) *view {
	if !slices.Contains(s.names, plan) && len(s.names) > 0 {
		plan = s.names[0]
	}
	v := &view{State: s.State(), Plan: plan, Email: email, Error: message, Faults: s.Faults()}
	v.Requests = newest(s.Requests(), func(r *Request) string { return r.Plan }, plan)
	v.History = newest(s.History(), func(c *Change) string { return c.Plan }, plan)
	v.Counts, _ = s.Counts(plan) // without any plan there is nothing to show
	v.Jobs, _ = s.Jobs(plan)
	if email != "" {
		v.People, _ = s.Find(plan, email)
	} else {
		v.People, _ = s.People(plan, 0, shown)
	}
	sw, _ := s.Switches(plan)
	text, _ := json.MarshalIndent(sw, "", "  ") // plain data: cannot fail
	v.Switches = string(text)
	return v
}

// newest returns the last items of a plan, and those of no plan, the last one first.
func newest[T any](all []T, planOf func(*T) string, plan string) []T {
	var out []T
	for i := len(all) - 1; i >= 0 && len(out) < shown; i-- {
		if name := planOf(&all[i]); name == "" || name == plan {
			out = append(out, all[i])
		}
	}
	return out
}

// steer does what a form wants and goes back to the page, with the error if there was one.
func (s *Sim) steer(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
	back := url.Values{"plan": {r.PostFormValue("plan")}}
	if err := s.act(r.PathValue("act"), r); err != nil {
		back.Set("error", err.Error())
	}
	http.Redirect(w, r, "/_sim/?"+back.Encode(), http.StatusSeeOther)
}

func (s *Sim) act(act string, r *http.Request) error {
	plan := r.PostFormValue("plan")
	var err error
	switch act {
	case "switches":
		_, err = s.turn(plan, []byte(r.PostFormValue("json")))
	case "faults":
		_, err = s.scriptJSON([]byte(r.PostFormValue("json")))
	case "clear-faults":
		s.ClearFaults()
	case "reset":
		err = s.Reset()
	case "advance":
		var d time.Duration
		if d, err = time.ParseDuration(r.PostFormValue("by")); err == nil {
			s.Advance(d)
		}
	case "person":
		_, err = s.order(&personOrder{
			Op: r.PostFormValue("op"), Plan: plan, PsUserID: r.PostFormValue("psUserId"), Person: json.RawMessage(r.PostFormValue("json")),
		})
	}
	return err
}

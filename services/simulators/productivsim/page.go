package productivsim

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"slices"
)

var (
	//go:embed page.html
	pageSource string
	//go:embed page.css
	pageStyle string

	pageTemplate = template.Must(template.New("page").Parse(pageSource))
)

// shownRequests is how many of the latest calls the page shows.
const shownRequests = 50

// preset is a fault that the page offers as a button.
type preset struct {
	Name  string
	Fault Fault
}

var presets = []preset{
	{"429, Retry-After 2 s", Fault{Kind: FaultStatus, Status: 429, RetryAfter: Duration(2e9)}},
	{"503 three times", Fault{Kind: FaultStatus, Status: 503, Times: 3}},
	{"HTML page with 200", Fault{Kind: FaultHTML}},
	{"success: false", Fault{Kind: FaultSuccess, Success: SuccessFalse}},
	{"cut before the effect", Fault{Kind: FaultReset, When: Before}},
	{"cut after the effect", Fault{Kind: FaultReset, When: After}},
	{"cut in the body", Fault{Kind: FaultReset, When: Midbody}},
	{"truncated JSON", Fault{Kind: FaultTruncate}},
	{"short DELETE", Fault{Kind: FaultPartialDelete, Method: http.MethodDelete, Count: 1}},
	{"token endpoint 500", Fault{Kind: FaultStatus, Endpoint: EndpointToken, Status: 500}},
}

// pageView is all that the page shows.
type pageView struct {
	State    State
	Switches string // JSON, for the text box
	Presets  []preset
	Requests []Request
}

func (s *Sim) view() (pageView, error) {
	switches, err := json.MarshalIndent(s.Switches(), "", "  ")
	if err != nil {
		return pageView{}, err
	}
	requests := s.Requests()
	requests = requests[max(0, len(requests)-shownRequests):]
	slices.Reverse(requests)
	return pageView{State: s.state(), Switches: string(switches), Presets: presets, Requests: requests}, nil
}

func (s *Sim) showPage(w http.ResponseWriter, _ *http.Request) {
	view, err := s.view()
	var page bytes.Buffer
	if err == nil {
		err = pageTemplate.Execute(&page, view)
	}
	if err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = page.WriteTo(w)
}

func showStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write([]byte(pageStyle))
}

// submitForm takes what the page's forms send, and shows the page again.
func (s *Sim) submitForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := s.submit(r.PathValue("form"), r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/_sim/", http.StatusSeeOther)
}

func (s *Sim) submit(form string, r *http.Request) error {
	switch form {
	case "switches":
		return s.mergeSwitches([]byte(r.PostFormValue("json")))
	case "fault":
		return s.injectJSON([]byte(r.PostFormValue("json")))
	case "preset":
		i := slices.IndexFunc(presets, func(p preset) bool { return p.Name == r.PostFormValue("name") })
		if i < 0 {
			return errors.New("no such preset")
		}
		f := presets[i].Fault
		f.App = r.PostFormValue("app")
		f.Endpoint = cmp.Or(f.Endpoint, EndpointUsers)
		return s.Inject(f)
	case "clear":
		s.ClearFaults()
		return nil
	case "reset":
		return s.Reset()
	default:
		return errors.New("no such form")
	}
}

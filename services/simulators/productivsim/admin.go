package productivsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// maxAdminBody is enough for a list of a million people.
const maxAdminBody = 512 << 20

// admin serves /_sim/: the truth, the records and the controls, as JSON and as one HTML page. It asks for no credentials,
// so whoever serves it must not serve it to the world; pages of other origins are kept from using a browser against it.
func (s *Sim) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sim/{$}", s.showPage)
	mux.HandleFunc("GET /_sim/style.css", showStyle)
	mux.HandleFunc("POST /_sim/form/{form}", s.submitForm)

	mux.HandleFunc("GET /_sim/state", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.state()) })
	mux.HandleFunc("GET /_sim/requests", s.showRequests)
	mux.HandleFunc("GET /_sim/history", s.showHistory)
	mux.HandleFunc("GET /_sim/switches", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Switches()) })
	mux.HandleFunc("PUT /_sim/switches", s.putSwitches)
	mux.HandleFunc("GET /_sim/faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Faults()) })
	mux.HandleFunc("POST /_sim/faults", s.postFaults)
	mux.HandleFunc("DELETE /_sim/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /_sim/reset", func(w http.ResponseWriter, _ *http.Request) { done(w, s.Reset()) })
	s.adminApps(mux)
	return http.NewCrossOriginProtection().Handler(secured(mux))
}

// adminApps adds the paths about one app.
func (s *Sim) adminApps(mux *http.ServeMux) {
	app := func(pattern string, h func(w http.ResponseWriter, r *http.Request, app string)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if s.apps[r.PathValue("app")] == nil {
				http.Error(w, "no such app", http.StatusNotFound)
				return
			}
			h(w, r, r.PathValue("app"))
		})
	}
	app("GET /_sim/apps/{app}/users", func(w http.ResponseWriter, _ *http.Request, app string) {
		reply(w, s.Users(app))
	})
	app("PUT /_sim/apps/{app}/users", func(w http.ResponseWriter, r *http.Request, app string) {
		if users, ok := read[[]User](w, r); ok {
			done(w, s.Seed(app, users))
		}
	})
	app("PUT /_sim/apps/{app}/workflow-users", func(w http.ResponseWriter, r *http.Request, app string) {
		if users, ok := read[[]WorkflowUser](w, r); ok {
			done(w, s.SetWorkflowUsers(app, users))
		}
	})
	app("POST /_sim/apps/{app}/revoke-tokens", func(w http.ResponseWriter, _ *http.Request, app string) {
		done(w, s.RevokeTokens(app))
	})
	app("POST /_sim/apps/{app}/callbacks", func(w http.ResponseWriter, _ *http.Request, app string) {
		token, _ := s.IssueCallback(app) // the app exists: it was looked up above
		reply(w, map[string]string{"CallbackToken": token})
	})
}

// secured allows a page exactly what ours needs: its own style sheet and forms, and no script at all.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// State is the simulator at a glance; it holds no credentials.
type State struct {
	Apps     []AppState   `json:"apps"`
	Counts   Counts       `json:"counts"`
	Overlaps int          `json:"overlaps"`
	Switches Switches     `json:"switches"`
	Faults   []FaultState `json:"faults"`
}

// AppState is one app in a State.
type AppState struct {
	ID     string `json:"id"`
	Counts Counts `json:"counts"`
}

func (s *Sim) state() State {
	st := State{Counts: s.Counts(), Overlaps: len(s.Overlaps()), Switches: s.Switches(), Faults: s.Faults()}
	for _, id := range s.Apps() {
		st.Apps = append(st.Apps, AppState{ID: id, Counts: s.AppCounts(id)})
	}
	return st
}

func (s *Sim) showRequests(w http.ResponseWriter, r *http.Request) {
	showSelected(w, r, s.Requests(), func(q Request) (int64, string) { return q.Seq, q.App })
}

func (s *Sim) showHistory(w http.ResponseWriter, r *http.Request) {
	showSelected(w, r, s.History(), func(c Change) (int64, string) { return c.Seq, c.App })
}

// showSelected answers the items after ?since=SEQ, of ?app=, at most ?limit= of them (the first ones; all without it).
func showSelected[T any](w http.ResponseWriter, r *http.Request, items []T, of func(T) (seq int64, app string)) {
	query := r.URL.Query()
	since, err1 := number(query.Get("since"), 0)
	limit, err2 := number(query.Get("limit"), int64(len(items)))
	if err := errors.Join(err1, err2); err != nil {
		http.Error(w, "since and limit are numbers", http.StatusBadRequest)
		return
	}
	chosen := []T{}
	for _, item := range items {
		seq, app := of(item)
		if seq > since && (query.Get("app") == "" || query.Get("app") == app) && int64(len(chosen)) < limit {
			chosen = append(chosen, item)
		}
	}
	reply(w, chosen)
}

func number(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

// putSwitches changes the switches that the body names and leaves the others as they are.
func (s *Sim) putSwitches(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	done(w, s.mergeSwitches(body))
}

func (s *Sim) mergeSwitches(body []byte) error {
	switches := s.Switches()
	if err := decodeStrictly(body, &switches); err != nil {
		return err
	}
	return s.SetSwitches(switches)
}

// postFaults takes one fault or an array of them.
func (s *Sim) postFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	done(w, s.injectJSON(body))
}

func (s *Sim) injectJSON(body []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		body = append(append([]byte("["), body...), ']')
	}
	var faults []Fault
	if err := decodeStrictly(body, &faults); err != nil {
		return err
	}
	return s.Inject(faults...)
}

func read[T any](w http.ResponseWriter, r *http.Request) (v T, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	if err == nil {
		err = decodeStrictly(body, &v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return v, err == nil
}

// decodeStrictly reads one JSON value: a misspelt switch is an error, and not a switch that does nothing.
func decodeStrictly(body []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // only a reader that has gone can fail it
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

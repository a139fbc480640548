package faultbench

import (
	"fmt"
	"strings"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// judge checks what must hold of the evidence.
func (l *layoffs) judge() {
	l.t.Helper()
	l.AwaitReady()
	l.judgeLayoffs()
	l.wantNobodyDiedAlone()
	l.wantBounds()
	l.wantLetters()
	l.wantNoLeak()
}

// judgeLayoffs checks what happened to the people who left.
func (l *layoffs) judgeLayoffs() {
	l.t.Helper()
	found.tests(convergence, 1)
	l.wantOneSettled()
	l.wantRemovedOnce()
	files, again := l.wantLooks()
	l.wantRowsOnce()
	lost := 0
	for _, f := range l.pluralsight.Faults() {
		lost += f.Fired
	}
	l.t.Logf("%d kills; %d requests; %d files in earnest, %d answers lost, %d rows sent again",
		len(l.done), len(l.wanted), files, lost, again)
}

// wantOneSettled checks that each request has one answer, which is true, and nobody else any. Nobody else takes these
// people's licences, so they are removed, or were so already when the second of two systems asked.
func (l *layoffs) wantOneSettled() {
	l.t.Helper()
	l.read()
	all := l.answers
	removed := map[string]bool{}
	found.tests(conservation, len(l.wanted))
	found.tests(truthful, len(l.wanted)-len(l.spared))
	found.tests(protectedNever, len(l.spared))
	for key, id := range l.wanted {
		for _, s := range all[key] {
			removed[id] = removed[id] || s.Outcome == deprovision.OutcomeRemoved
		}
		if n := len(all[key]); n != 1 {
			found.violation(l.t, conservation, "request %s is settled %d times", key, n)
			continue
		}
		s := all[key][0]
		if reason := l.spared[id]; reason != "" {
			if s.Outcome != deprovision.OutcomeRejected || s.Reason != reason {
				found.violation(l.t, protectedNever, "request %s is settled as %s %s, and should be rejected: %s", key, s.Outcome, s.Reason, reason)
			}
			continue
		}
		if s.Outcome != deprovision.OutcomeRemoved && s.Outcome != deprovision.OutcomeAlreadyRemoved || s.PsUserID != id {
			found.violation(l.t, truthful, "request %s is settled as %s %s about %s, who should be %s", key, s.Outcome, s.Reason, s.PsUserID, id)
		}
		if e := s.Evidence; e.IsOnAccount == nil || *e.IsOnAccount || e.RemovedOn == nil || e.ReadAt == nil || e.ReadAt.Before(*e.RemovedOn) {
			found.violation(l.t, truthful, "request %s is settled as %s without proof", key, s.Outcome)
		}
		if p, err := l.pluralsight.Person(l.connection, id); err != nil || p.IsOnAccount != pluralsightsim.No {
			found.violation(l.t, truthful, "request %s is settled as %s, and the person is on the account: %v", key, s.Outcome, err)
		}
	}
	for key := range all {
		if l.wanted[key] == "" {
			found.violation(l.t, conservation, "an answer for %q, which nobody asked for", key)
		}
	}
	for key, id := range l.wanted {
		if !removed[id] && l.spared[id] == "" && !l.denied {
			found.violation(l.t, truthful, "%s is gone, and neither %s nor another request was told that we did it", id, key)
		}
	}
}

// wantRemovedOnce checks the plan's own history: a file took each of these people once, and nobody else.
func (l *layoffs) wantRemovedOnce() {
	l.t.Helper()
	times := map[string]int{}
	for _, c := range l.pluralsight.History() {
		if c.Kind == "removed" && c.Plan == l.connection {
			times[c.PsUserID]++
		}
	}
	asked := map[string]bool{}
	found.tests(oneEffect, len(l.wanted))
	for _, id := range l.wanted {
		if asked[id] = true; l.spared[id] != "" && times[id] != 0 {
			found.violation(l.t, protectedNever, "%s was removed, who is %s", id, l.spared[id])
		} else if l.spared[id] == "" && times[id] != 1 {
			found.violation(l.t, oneEffect, "%s was removed %d times", id, times[id])
		}
	}
	for id := range times {
		if !asked[id] {
			found.violation(l.t, oneEffect, "%s was removed, and nobody asked for it", id)
		}
	}
}

// wantLooks checks that nobody was sent twice without an answered look at that person in between, and nothing in
// earnest that no dry run had accepted. It returns how many files there were, and how many of their rows were repeated.
func (l *layoffs) wantLooks() (files, again int) {
	l.t.Helper()
	const unlooked, looked = 1, 2
	people, accepted := map[string]int{}, map[string]bool{}
	for _, r := range l.pluralsight.Requests() {
		if r.GraphQL != nil && r.Status == 200 && r.GraphQL.Errors == 0 {
			for _, address := range r.GraphQL.Emails {
				if address = strings.ToLower(address); people[address] == unlooked {
					people[address] = looked
				}
			}
		}
		d := r.Deprovision
		if d == nil {
			continue
		}
		bytes := fmt.Sprint(r.BodySHA256, d.ExitOnError, d.RetainPrivileges)
		if d.DryRun {
			accepted[bytes] = accepted[bytes] || r.Status == 200
			continue
		}
		found.tests(authority, 1)
		if files++; !accepted[bytes] {
			found.violation(l.t, authority, "request %d applied what no dry run had accepted", r.Seq)
		}
		for _, row := range d.Rows {
			address := strings.ToLower(row.Email)
			switch people[address] {
			case unlooked:
				found.violation(l.t, lookFirst, "request %d: somebody was sent again without a look in between", r.Seq)
			case looked:
				found.tests(lookFirst, 1)
				again++
			}
			people[address] = unlooked
		}
	}
	return files, again
}

// wantRowsOnce checks that no file in earnest names anybody twice.
func (l *layoffs) wantRowsOnce() {
	l.t.Helper()
	for _, r := range l.pluralsight.Requests() {
		if r.Deprovision == nil || r.Deprovision.DryRun {
			continue
		}
		found.tests(wireLimits, 1)
		seen := map[string]bool{}
		for _, row := range r.Deprovision.Rows {
			address := strings.ToLower(row.Email)
			if seen[address] || seen[row.ID] {
				found.violation(l.t, wireLimits, "request %d names somebody twice", r.Seq)
			}
			seen[address], seen[row.ID] = true, true
		}
	}
}

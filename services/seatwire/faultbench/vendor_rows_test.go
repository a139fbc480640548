package faultbench

import (
	"fmt"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// vendorRow is a way for a vendor to go wrong. Its faults strike by chance until there were enough of them.
type vendorRow struct {
	name string
	// night is the nightly count of research/reliability.md 3.2; the long form has a tenth of it.
	night       int
	pluralsight *pluralsightsim.Fault
	productiv   *productivsim.Fault
	// dialect changes how Pluralsight speaks for as long as the row lasts.
	dialect func(*pluralsightsim.Switches)
	// short has the row in the short form too.
	short bool
}

// chance is of one call to be struck.
const chance = 0.3

// reads are faults of Pluralsight's answers to queries.
func reads(night int, f pluralsightsim.Fault, name string, args ...any) vendorRow {
	f.Match.Path, f.Match.Probability = "/graphql", chance
	return vendorRow{name: "Pluralsight, query: " + fmt.Sprintf(name, args...), night: night, pluralsight: &f}
}

// files are faults of Pluralsight's answers to files of people, dry or in earnest.
func files(night int, dry bool, f pluralsightsim.Fault, name string, args ...any) vendorRow {
	f.Match.Operation, f.Match.DryRun, f.Match.Probability = "deprovision", &dry, chance
	kind := map[bool]string{true: "dry run: ", false: "file in earnest: "}[dry]
	return vendorRow{name: "Pluralsight, " + kind + fmt.Sprintf(name, args...), night: night, pluralsight: &f}
}

// list are faults of Productiv's answers.
func list(night int, method string, f productivsim.Fault, name string, args ...any) vendorRow {
	f.Endpoint, f.Method, f.Times, f.Probability = productivsim.EndpointUsers, method, -1, chance
	return vendorRow{name: "Productiv, " + method + ": " + fmt.Sprintf(name, args...), night: night, productiv: &f}
}

// vendorRows is the whole matrix, each write with "applied, then failed" as well.
func vendorRows() (rows []vendorRow) {
	rows = append(rows, readRows()...)
	rows = append(rows, pageRows()...)
	for _, dry := range []bool{true, false} {
		rows = append(rows, fileRows(dry)...)
	}
	rows = append(rows, answerRows()...)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		rows = append(rows, listRows(method)...)
	}
	for i := range rows {
		rows[i].short = shortRows[rows[i].name]
	}
	return rows
}

// shortRows are the dangerous ones.
var shortRows = map[string]bool{
	"Pluralsight, file in earnest: reset, after it took effect": true,
	"Productiv, POST: reset, after it took effect":              true,
	"Productiv, DELETE: 503, after it took effect":              true,
	"Pluralsight, page: short-page":                             true,
}

func readRows() (rows []vendorRow) {
	for _, status := range []int{429, 500, 502, 503, 504} {
		rows = append(rows, reads(50, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: status}, "%d", status))
	}
	for _, when := range []pluralsightsim.When{pluralsightsim.Before, pluralsightsim.After, pluralsightsim.MidBody} {
		rows = append(rows,
			reads(500, pluralsightsim.Fault{Action: pluralsightsim.Reset, When: when}, "reset, %s", when),
			reads(100, pluralsightsim.Fault{Action: pluralsightsim.Stall, When: when}, "hangs, %s", when))
	}
	for _, body := range []string{"", "{", "null", "garbage \x00", `{"data":null}`, "<html>sign in</html>"} {
		rows = append(rows, reads(100, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: 200, Body: body, BodyForm: "empty"}, "200 with %q", body))
	}
	return append(rows,
		reads(50, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: 429, RetryAfter: "1"}, "429 with Retry-After"),
		reads(50, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: 401, BodyForm: "json"}, "401"),
		reads(50, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: 403}, "403"),
		reads(100, pluralsightsim.Fault{Action: pluralsightsim.Drip, Count: 1, Delay: pluralsightsim.Duration(50 * time.Millisecond)}, "a byte at a time"),
		reads(100, pluralsightsim.Fault{Action: pluralsightsim.Truncate}, "cut short"),
		reads(100, pluralsightsim.Fault{Action: pluralsightsim.Huge, Size: 20 << 20}, "20 MiB"),
		reads(100, pluralsightsim.Fault{Action: pluralsightsim.ErrorsOnly}, "errors without data"),
		reads(100, pluralsightsim.Fault{Action: pluralsightsim.ErrorsPartial}, "errors beside half of the data"),
		reads(100, pluralsightsim.Fault{Action: pluralsightsim.ErrorsFull}, "errors beside all of the data"),
	)
}

// pageRows are pages that do not follow each other as those of one list, and lists that change while they are read.
func pageRows() (rows []vendorRow) {
	const seeds = 5000 / 20
	for _, action := range []pluralsightsim.Action{
		pluralsightsim.RepeatCursor, pluralsightsim.LoopToStart, pluralsightsim.NullEndCursor, pluralsightsim.NoHasNextPage,
		pluralsightsim.EmptyPage, pluralsightsim.LastEmpty, pluralsightsim.ShortPage, pluralsightsim.DuplicateNode,
		pluralsightsim.ConflictingNode, pluralsightsim.NullNode, pluralsightsim.NullID, pluralsightsim.ExpiredCursor,
		pluralsightsim.WrongTotal, pluralsightsim.NullNodes, pluralsightsim.NullConnection,
		pluralsightsim.InsertFirst, pluralsightsim.InsertLast, pluralsightsim.RemoveFirst, pluralsightsim.MoveToEnd, pluralsightsim.MoveToFront,
	} {
		f := pluralsightsim.Fault{Action: action, Match: pluralsightsim.Match{Plan: "acme", Operation: "users", Probability: chance}}
		rows = append(rows, vendorRow{name: "Pluralsight, page: " + string(action), night: seeds, pluralsight: &f})
	}
	return rows
}

// moments are when a write is struck; the second is "applied, then failed".
var strikeMoments = map[pluralsightsim.When]string{pluralsightsim.Before: "before it took effect", pluralsightsim.After: "after it took effect"}

func fileRows(dry bool) (rows []vendorRow) {
	for when, text := range strikeMoments {
		for _, status := range []int{429, 500, 502, 503, 504} {
			rows = append(rows, files(50, dry, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: status, When: when}, "%d, %s", status, text))
		}
		rows = append(rows,
			files(500, dry, pluralsightsim.Fault{Action: pluralsightsim.Reset, When: when}, "reset, %s", text),
			files(1000, dry, pluralsightsim.Fault{Action: pluralsightsim.Stall, When: when}, "timeout, %s", text))
		if dry || when == pluralsightsim.After {
			rows = append(rows, page(dry, when, text))
		}
	}
	return append(rows,
		files(500, dry, pluralsightsim.Fault{Action: pluralsightsim.Reset, When: pluralsightsim.MidBody}, "reset in the middle of the answer"),
		files(100, dry, pluralsightsim.Fault{Action: pluralsightsim.Truncate}, "answer cut short"),
		files(100, dry, pluralsightsim.Fault{Action: pluralsightsim.Huge, Size: 20 << 20}, "answer of 20 MiB"))
}

// dialect is a way of carrying files out, and of speaking of it.
func dialect(night int, name string, change func(*pluralsightsim.DeprovisionSwitches)) vendorRow {
	return vendorRow{name: "Pluralsight, file: " + name, night: night, dialect: func(s *pluralsightsim.Switches) { change(&s.Deprovision) }}
}

func partial(d *pluralsightsim.DeprovisionSwitches) { d.Effect = "partial" }

func page(dry bool, when pluralsightsim.When, text string) vendorRow {
	return files(100, dry, pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: 200, Body: "<html>", When: when}, "200 with a page, %s", text)
}

// silentRows are files in earnest that do nothing, or not all, and whose answers do not say so.
func silentRows() []vendorRow {
	return []vendorRow{
		page(false, pluralsightsim.Before, strikeMoments[pluralsightsim.Before]),
		dialect(100, "some rows have no effect, and it does not say so", partial),
	}
}

// answerRows are each status text with each code, of files that took effect, and effects that come late, partly or never.
func answerRows() (rows []vendorRow) {
	for _, text := range []string{
		"Completed Successfully", "Processing", "Validation Completed With Errors", "Completed With Errors", "No Files", "Entirely New",
	} {
		for _, code := range []int{200, 202, 400, 500} {
			body := fmt.Sprintf(`{"status":%q}`, text)
			f := pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: code, Body: body, When: pluralsightsim.After}
			rows = append(rows, files(10, false, f, "%d with %q, after it took effect", code, text))
		}
	}
	return append(rows,
		dialect(100, "Processing, done later", func(d *pluralsightsim.DeprovisionSwitches) {
			d.Answer, d.EffectDelay = "processing", pluralsightsim.Duration(500*time.Millisecond)
		}),
		answering(dialect(200, "some rows have no effect, and it says so", partial), pluralsightsim.Fault{
			Action: pluralsightsim.Answer, Status: 400, Body: `{"status":"Completed With Errors"}`, When: pluralsightsim.After,
		}),
		dialect(100, "one file at a time (409)", func(d *pluralsightsim.DeprovisionSwitches) {
			d.Concurrent, d.EffectDelay = "conflict", pluralsightsim.Duration(300*time.Millisecond)
		}),
	)
}

// answering is a row in which every file in earnest gets an answer of its own.
func answering(row vendorRow, answer pluralsightsim.Fault) vendorRow {
	row.pluralsight = files(row.night, false, answer, "").pluralsight
	row.pluralsight.Match.Probability = 1
	return row
}

func listRows(method string) (rows []vendorRow) {
	for when, text := range map[productivsim.When]string{productivsim.Before: "before it took effect", productivsim.After: "after it took effect"} {
		for _, status := range []int{429, 500, 502, 503, 504} {
			rows = append(rows, list(50, method, productivsim.Fault{Kind: productivsim.FaultStatus, Status: status, When: when}, "%d, %s", status, text))
		}
		rows = append(rows,
			list(500, method, productivsim.Fault{Kind: productivsim.FaultReset, When: when}, "reset, %s", text),
			list(1000, method, productivsim.Fault{Kind: productivsim.FaultHang, When: when}, "timeout, %s", text),
			list(100, method, productivsim.Fault{Kind: productivsim.FaultHTML, When: when}, "200 with a page, %s", text))
		if method == "GET" {
			continue
		}
		for _, success := range []productivsim.Success{productivsim.SuccessFalse, productivsim.SuccessMissing, productivsim.SuccessNull, productivsim.SuccessText} {
			rows = append(rows, list(50, method, productivsim.Fault{Kind: productivsim.FaultSuccess, Success: success, When: when}, "success %s, %s", success, text))
		}
	}
	rows = append(rows,
		list(500, method, productivsim.Fault{Kind: productivsim.FaultReset, When: productivsim.Midbody}, "reset in the middle of the answer"),
		list(100, method, productivsim.Fault{Kind: productivsim.FaultTruncate}, "answer cut short"),
		list(50, method, productivsim.Fault{Kind: productivsim.FaultStatus, Status: 429, RetryAfter: productivsim.Duration(time.Second)}, "429 with Retry-After"))
	if method == "DELETE" {
		rows = append(rows,
			list(50, method, productivsim.Fault{Kind: productivsim.FaultPartialDelete, Count: 1}, "one is left"),
			list(50, method, productivsim.Fault{Kind: productivsim.FaultShortCount, Count: 1}, "one fewer is reported"))
	}
	return rows
}

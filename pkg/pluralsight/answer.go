package pluralsight

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
)

// Status is what Pluralsight says of a file.
type Status string

// The documented statuses, and Other for anything that is none of them for sure.
const (
	// Successful: the run is over.
	Successful Status = "successful"
	// Processing: accepted, not done. No documented way leads to the end of it but reading people back.
	Processing Status = "processing"
	// ValidationErrors: rows were refused. Without ExitOnError the others may have been carried out all the same.
	ValidationErrors Status = "validation-errors"
	// CompletedWithErrors: carried out in part.
	CompletedWithErrors Status = "completed-with-errors"
	// NoFiles: the request held no file, which is a mistake of ours.
	NoFiles Status = "no-files"
	Other   Status = "other"
)

// Answer is Pluralsight's answer to an Order.
type Answer struct {
	// HTTP is the status code; 0 when there was no answer.
	HTTP   int
	Status Status
	// BodySHA256 identifies the answer's body, in hexadecimal, for the audit. The body itself may name people.
	BodySHA256 string
}

// statuses are keyed by the letters of the documented texts.
var statuses = map[string]Status{
	"completedsuccessfully":         Successful,
	"processing":                    Processing,
	"validationcompletedwitherrors": ValidationErrors,
	"completedwitherrors":           CompletedWithErrors,
	"nofiles":                       NoFiles,
}

var (
	straight      = strings.NewReplacer("\u201c", `"`, "\u201d", `"`, "\u201e", `"`, "\u201f", `"`, "\ufeff", "")
	trailingComma = regexp.MustCompile(`,(\s*[}\]])`)
	statusMember  = regexp.MustCompile(`(?i)"status"\s*:\s*"([^"]*)"`)
)

func parseAnswer(code int, body []byte) Answer {
	sum := sha256.Sum256(body)
	a := Answer{HTTP: code, Status: parseStatus(string(body)), BodySHA256: hex.EncodeToString(sum[:])}
	if code >= 400 && (a.Status == Successful || a.Status == Processing) {
		a.Status = Other // the code and the text contradict each other
	}
	return a
}

// parseStatus finds the status in a body. The documentation's own samples are not JSON (typographic quotes, a trailing
// comma), so after JSON comes mended JSON, and after that the text alone, if it holds one status and no other.
func parseStatus(body string) Status {
	if s, ok := member(body); ok {
		return s
	}
	mended := trailingComma.ReplaceAllString(straight.Replace(body), "$1")
	if s, ok := member(mended); ok {
		return s
	}
	found := map[Status]bool{}
	last := Other
	for _, m := range statusMember.FindAllStringSubmatch(mended, -1) {
		last = lookupStatus(m[1])
		found[last] = true
	}
	if len(found) != 1 {
		return Other
	}
	return last
}

// member reads the status of a JSON object, and false when body is not one.
func member(body string) (Status, bool) {
	var object struct{ Status any }
	if json.Unmarshal([]byte(body), &object) != nil {
		return Other, false
	}
	text, _ := object.Status.(string)
	return lookupStatus(text), true
}

// lookupStatus compares letters only, whatever their case.
func lookupStatus(text string) Status {
	letters := strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
	if s, ok := statuses[letters]; ok {
		return s
	}
	return Other
}

package events

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seatwire/seatwire/pkg/fault"
)

// structuredHeader is what a structured event comes with.
func structuredHeader() map[string][]string {
	return map[string][]string{"Content-Type": {ContentTypeStructured}}
}

// binaryHeader is a whole event in binary mode, changed by change.
func binaryHeader(change ...func(map[string][]string)) map[string][]string {
	h := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"id-1"}, "ce-source": {"/hr"}, "ce-type": {"t.v1"},
		"ce-time": {"2026-11-23T10:00:00Z"}, "Content-Type": {"application/json"},
	}
	for _, c := range change {
		c(h)
	}
	return h
}

const wholeBody = `{"specversion":"1.0","id":"id-1","source":"/hr","type":"t.v1","time":"2026-11-23T10:00:00Z","data":{"reason":"left"}}`

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func set(name string, values ...string) func(map[string][]string) {
	return func(h map[string][]string) { h[name] = values }
}

func without(name string) func(map[string][]string) {
	return func(h map[string][]string) { delete(h, name) }
}

func TestRead_refusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxAttribute+1)
	tests := map[string]struct {
		header map[string][]string
		body   string
	}{
		"neither content mode":                  {nil, wholeBody},
		"json without ce- headers":              {map[string][]string{"Content-Type": {"application/json"}}, `{}`},
		"empty structured body":                 {structuredHeader(), ""},
		"structured body of white space":        {structuredHeader(), " \n"},
		"structured body is an array":           {structuredHeader(), `[]`},
		"structured body is a number":           {structuredHeader(), `7`},
		"truncated structured body":             {structuredHeader(), wholeBody[:len(wholeBody)-1]},
		"two documents":                         {structuredHeader(), wholeBody + wholeBody},
		"structured body is not UTF-8":          {structuredHeader(), strings.Replace(wholeBody, "left", "l\xffft", 1)},
		"structured id missing":                 {structuredHeader(), strings.Replace(wholeBody, `"id":"id-1",`, "", 1)},
		"structured id empty":                   {structuredHeader(), strings.Replace(wholeBody, `"id-1"`, `""`, 1)},
		"structured id under another name":      {structuredHeader(), strings.Replace(wholeBody, `"id"`, `"ID"`, 1)},
		"structured id null":                    {structuredHeader(), strings.Replace(wholeBody, `"id-1"`, `null`, 1)},
		"structured id a number":                {structuredHeader(), strings.Replace(wholeBody, `"id-1"`, `1`, 1)},
		"structured source missing":             {structuredHeader(), strings.Replace(wholeBody, `"source":"/hr",`, "", 1)},
		"structured type missing":               {structuredHeader(), strings.Replace(wholeBody, `"type":"t.v1",`, "", 1)},
		"structured specversion missing":        {structuredHeader(), strings.Replace(wholeBody, `"specversion":"1.0",`, "", 1)},
		"structured specversion 0.3":            {structuredHeader(), strings.Replace(wholeBody, `"1.0"`, `"0.3"`, 1)},
		"structured specversion a number":       {structuredHeader(), strings.Replace(wholeBody, `"1.0"`, `1.0`, 1)},
		"structured id too long":                {structuredHeader(), strings.Replace(wholeBody, "id-1", long, 1)},
		"structured nested too deep":            {structuredHeader(), strings.Replace(wholeBody, `{"reason":"left"}`, nested(MaxDepth), 1)},
		"structured body too large":             {structuredHeader(), strings.Replace(wholeBody, "left", strings.Repeat("x", MaxBody), 1)},
		"data_base64 that is no base64":         {structuredHeader(), strings.Replace(wholeBody, `"data":{"reason":"left"}`, `"data_base64":"*"`, 1)},
		"data_base64 that holds no JSON":        {structuredHeader(), strings.Replace(wholeBody, `"data":{"reason":"left"}`, `"data_base64":"Kioq"`, 1)},
		"binary id missing":                     {binaryHeader(without("ce-id")), `{}`},
		"binary id empty":                       {binaryHeader(set("ce-id", "")), `{}`},
		"binary id without a value":             {binaryHeader(set("ce-id")), `{}`},
		"binary source missing":                 {binaryHeader(without("ce-source")), `{}`},
		"binary type missing":                   {binaryHeader(without("ce-type")), `{}`},
		"binary specversion missing":            {binaryHeader(without("ce-specversion")), `{}`},
		"binary specversion 1.1":                {binaryHeader(set("ce-specversion", "1.1")), `{}`},
		"repeated ce- header":                   {binaryHeader(set("ce-id", "a", "b")), `{}`},
		"repeated ce- header, same value":       {binaryHeader(set("ce-id", "a", "a")), `{}`},
		"ce- header in two spellings":           {binaryHeader(set("Ce-Id", "id-1")), `{}`},
		"repeated extension":                    {binaryHeader(set("ce-subject", "a", "b")), `{}`},
		"repeated ce- header beside structured": {map[string][]string{"Content-Type": {ContentTypeStructured}, "ce-id": {"a", "b"}}, wholeBody},
		"ce- header is not UTF-8":               {binaryHeader(set("ce-id", "\xff")), `{}`},
		"percent-encoded header is not UTF-8":   {binaryHeader(set("ce-id", "%ff")), `{}`},
		"binary id too long":                    {binaryHeader(set("ce-id", long)), `{}`},
		"binary body is not JSON":               {binaryHeader(), `{"a":`},
		"binary body is not UTF-8":              {binaryHeader(), "\"\xc3\x28\""},
		"binary body nested too deep":           {binaryHeader(), nested(MaxDepth + 1)},
		"binary body too large":                 {binaryHeader(), `"` + strings.Repeat("x", MaxBody) + `"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Read(tt.header, []byte(tt.body))
			if fault.ReasonOf(err) != "undecodable" || fault.ClassOf(err) != fault.Permanent {
				t.Fatalf("got %+v, %v; want a permanent undecodable fault", e, err)
			}
		})
	}
}

// A publisher's text may be somebody's address: it must not come out in an error, which is logged and stored.
func TestRead_errorsQuoteNothing(t *testing.T) {
	t.Parallel()
	const secret = "ada@example.com"
	for _, body := range []string{
		`{"specversion":"` + secret + `","id":"1","source":"s","type":"t"}`,
		`{"specversion":7,"id":"` + secret + `"}`,
		`{"id":"` + secret,
		`"` + secret + `"`,
	} {
		_, err := Read(structuredHeader(), []byte(body))
		if err == nil || strings.Contains(fault.Text(err)+err.Error(), secret) {
			t.Errorf("%s: error %v", body, err)
		}
	}
}

func TestRead_takesTheLimitsThemselves(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header map[string][]string
		body   string
	}{
		"binary body of the largest size":     {binaryHeader(), `"` + strings.Repeat("x", MaxBody-2) + `"`},
		"binary body of the deepest nesting":  {binaryHeader(), nested(MaxDepth)},
		"structured of the deepest nesting":   {structuredHeader(), strings.Replace(wholeBody, `{"reason":"left"}`, nested(MaxDepth-1), 1)},
		"brackets in strings do not nest":     {binaryHeader(), `"` + strings.Repeat(`\"[{`, 500) + `"`},
		"the longest id":                      {binaryHeader(set("ce-id", strings.Repeat("x", maxAttribute))), `{}`},
		"content type with parameters":        {map[string][]string{"content-type": {"Application/CloudEvents+JSON; charset=utf-8"}}, wholeBody},
		"unknown attributes and extensions":   {structuredHeader(), strings.Replace(wholeBody, `"data"`, `"subject":"x","traceparent":"y","data"`, 1)},
		"no data at all":                      {binaryHeader(), ""},
		"binary mode without a content type":  {binaryHeader(without("Content-Type")), `{}`},
		"headers of others, repeated as such": {binaryHeader(set("X-Trace", "a", "b")), `{}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Read(tt.header, []byte(tt.body)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRead_bothContentModesSayTheSame(t *testing.T) {
	t.Parallel()
	want := Event{
		ID: "id-1", Source: "/hr", Type: "t.v1",
		Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Data: json.RawMessage(`{"reason":"left"}`),
	}
	encoded := base64.StdEncoding.EncodeToString(want.Data)
	tests := map[string]struct {
		header map[string][]string
		body   string
	}{
		"structured":         {structuredHeader(), wholeBody},
		"structured, base64": {structuredHeader(), strings.Replace(wholeBody, `"data":{"reason":"left"}`, `"data_base64":"`+encoded+`"`, 1)},
		"structured, spaced": {structuredHeader(), strings.ReplaceAll(wholeBody, `,"`, ` , "`)},
		"binary":             {binaryHeader(), string(want.Data)},
		"binary, capitals": {map[string][]string{
			"CE-SpecVersion": {"1.0"}, "Ce-Id": {"id-1"}, "cE-Source": {"/hr"}, "CE-TYPE": {"t.v1"}, "Ce-Time": {"2026-11-23T10:00:00Z"},
		}, string(want.Data)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Read(tt.header, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if got.Key("x") != want.Key("x") || got.Content() != want.Content() {
				t.Error("another identity or content")
			}
		})
	}
}

func TestRead_decodesPercentEncodedHeaders(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain":          "plain",
		"caf%C3%A9":      "café",
		"caf%c3%a9":      "café",
		"a%20b":          "a b",
		"a+b":            "a+b",
		"50%25":          "50%",
		"%E2%82%AC":      "€",
		"100% sure":      "100% sure", // no encoding at all: taken as it is
		"/hr/payroll?x=": "/hr/payroll?x=",
		"café":           "café",
	}
	for sent, want := range tests {
		e, err := Read(binaryHeader(set("ce-source", sent)), nil)
		if err != nil || e.Source != want {
			t.Errorf("%q read as %q, %v; want %q", sent, e.Source, err, want)
		}
	}
}

// An event whose time is missing or wrong can still be answered, so it is read; whoever needs the time refuses it.
func TestRead_leavesABadTimeZero(t *testing.T) {
	t.Parallel()
	for _, at := range []string{
		`null`, `"yesterday"`, `17`, `"2026-11-23"`, `""`, `{}`, `["2026-11-23T10:00:00Z"]`,
		`"9999-12-31T23:59:59-23:59"`, `"0000-01-01T00:00:00+23:59"`,
	} {
		e, err := Read(structuredHeader(), []byte(strings.Replace(wholeBody, `"2026-11-23T10:00:00Z"`, at, 1)))
		if err != nil || !e.Time.IsZero() {
			t.Errorf("time %s: %v, %v", at, e.Time, err)
		}
	}
	e, err := Read(binaryHeader(without("ce-time")), nil)
	if err != nil || !e.Time.IsZero() {
		t.Errorf("no ce-time: %v, %v", e.Time, err)
	}
	e, err = Read(binaryHeader(set("ce-time", "2026-11-23T11:00:00.5+01:00")), nil)
	if want := time.Date(2026, 11, 23, 10, 0, 0, 5e8, time.UTC); err != nil || !e.Time.Equal(want) {
		t.Errorf("an offset and a fraction: %v, %v", e.Time, err)
	}
}

func TestRead_missingDataIsAnEmptyObject(t *testing.T) {
	t.Parallel()
	for _, member := range []string{``, `,"data":null`, `,"data": null `, `,"data_base64":""`, `,"data_base64":null`} {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"s","type":"t"%s}`, member)
		e, err := Read(structuredHeader(), []byte(body))
		if err != nil || string(e.Data) != "{}" {
			t.Errorf("%s: %s, %v", body, e.Data, err)
		}
	}
}

// A message is judged again at each delivery, and must be judged the same: not by the order of a map.
func TestRead_contentTypeInTwoSpellingsIsJudgedTheSame(t *testing.T) {
	t.Parallel()
	header := binaryHeader(set("content-type", ContentTypeStructured))
	first, err := Read(header, []byte(wholeBody))
	for range 200 {
		again, errAgain := Read(header, []byte(wholeBody))
		if first.Content() != again.Content() || (err == nil) != (errAgain == nil) {
			t.Fatal("one message says this now and that then")
		}
	}
}

package events

import "embed"

// schemas describe the data of each event type to other systems. They use only what JSON Schema 2020-12 and draft 7
// share, so that AsyncAPI 3.0 tools, which know draft 7, read the same files. Data that is sent to us may have members
// that we do not know; what we send has exactly these.
//
//go:embed schemas/*.json
var schemas embed.FS

// Schema returns the JSON Schema of the data of an event type, and false for a type that is not in the contract.
func Schema(eventType string) ([]byte, bool) {
	document, err := schemas.ReadFile("schemas/" + eventType + ".json")
	return document, err == nil
}

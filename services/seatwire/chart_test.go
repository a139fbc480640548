package seatwire

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seatwire/seatwire/pkg/config"
)

// chartSchema is as much of the chart's values.schema.json as says what keys there are.
type chartSchema struct {
	Properties map[string]chartSchema `json:"properties"`
	Defs       map[string]chartSchema `json:"$defs"`
	Items      *chartSchema           `json:"items"`
}

// The chart passes these sections on to seatwire.yaml: what the one has, the other must let through.
func TestChart_takesEveryKeyOfTheConfiguration(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/helm/seatwire/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema chartSchema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	sameKeys(t, "limits", schema.Properties["limits"], reflect.TypeFor[config.Limits]())
	sameKeys(t, "retry", schema.Properties["retry"], reflect.TypeFor[config.Retry]())
	sameKeys(t, "deadLetters", schema.Properties["deadLetters"], reflect.TypeFor[config.DeadLetters]())
	sameKeys(t, "connection", schema.Defs["connection"], reflect.TypeFor[config.Connection]())
}

func sameKeys(t *testing.T, where string, schema chartSchema, section reflect.Type) {
	t.Helper()
	var keys []string
	for i := range section.NumField() {
		key := section.Field(i).Tag.Get("yaml")
		keys = append(keys, key)
		below, value := section.Field(i).Type, schema.Properties[key]
		if value.Items != nil {
			value = *value.Items
		}
		for below.Kind() == reflect.Pointer || below.Kind() == reflect.Slice {
			below = below.Elem()
		}
		if below.Kind() == reflect.Struct && below != reflect.TypeFor[config.Secret]() {
			sameKeys(t, where+"."+key, value, below)
		}
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
		t.Errorf("%s: configuration -, values.schema.json +:\n%s", where, diff)
	}
}

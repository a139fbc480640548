package nack_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/seatwire/nack"
)

// awkward are names that YAML takes for a number, or that no Kubernetes object may end with.
var awkward = []string{"007", "acme-"}

func topology(replicas int, connections ...string) streams.Topology {
	cfg := config.Default()
	cfg.NATS.Replicas = replicas
	for _, c := range connections {
		cfg.Connections = append(cfg.Connections, config.DefaultConnection(c))
	}
	return streams.For(cfg)
}

// whole is a topology with everything: two connections, a publishing system for all, and one for some.
func whole(replicas int) streams.Topology {
	all := topology(replicas, awkward...)
	all.AddPublishingSystem(streams.PublishingSystem{Name: "hr"})
	all.AddPublishingSystem(streams.PublishingSystem{Name: "idp", Connections: awkward})
	return all
}

func TestResources_readBackAsTheTopology(t *testing.T) {
	t.Parallel()
	want := whole(3)
	resources, err := nack.Resources(want, "acc")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := nack.Write(&text, resources); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, declaredBy(t, text.String(), "acc"), byName...); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestResources_haveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	resources, err := nack.Resources(whole(1), "")
	if err != nil {
		t.Fatal(err)
	}
	legal := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	seen := map[string]bool{}
	for _, r := range resources {
		if !legal.MatchString(r.Metadata.Name) || len(r.Metadata.Name) > 253 {
			t.Errorf("Kubernetes refuses the name %q", r.Metadata.Name)
		}
		if key := r.Kind + " " + r.Metadata.Name; seen[key] {
			t.Errorf("two of %s", key)
		} else {
			seen[key] = true
		}
		if _, named := r.Spec["account"]; named {
			t.Errorf("%s names an account that nobody gave", r.Metadata.Name)
		}
	}
}

// Whatever setting the topology may get one day, it is either said or refused.
func TestResources_leaveNothingOut(t *testing.T) {
	t.Parallel()
	of := func(config any) (nack.Resource, error) {
		topology := streams.Topology{}
		switch c := config.(type) {
		case jetstream.StreamConfig:
			topology.Streams = []jetstream.StreamConfig{c}
		case jetstream.KeyValueConfig:
			topology.Buckets = []jetstream.KeyValueConfig{c}
		case jetstream.ConsumerConfig:
			topology.Consumers = []streams.Consumer{{Config: c}}
		}
		all, err := nack.Resources(topology, "")
		if err != nil {
			return nack.Resource{}, err
		}
		return all[0], nil
	}
	refused := 0
	for _, zero := range []any{jetstream.StreamConfig{}, jetstream.KeyValueConfig{}, jetstream.ConsumerConfig{}} {
		plain, err := of(zero)
		if err != nil {
			t.Fatal(err)
		}
		typ := reflect.TypeOf(zero)
		for i := range typ.NumField() {
			config := reflect.New(typ).Elem()
			fill(t, config.Field(i))
			said, err := of(config.Interface())
			if err != nil {
				refused++
			} else if cmp.Equal(plain.Spec, said.Spec) {
				t.Errorf("%s.%s is left out", typ.Name(), typ.Field(i).Name)
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused: the test sets nothing")
	}
}

// fill makes a setting something else than its zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Type() == reflect.TypeFor[time.Time]() {
			v.Elem().Set(reflect.ValueOf(time.Unix(1, 0)))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("x"))
	case reflect.Struct:
		fill(t, v.Field(0))
	default:
		t.Fatalf("cannot fill a %s", v.Type())
	}
}

package nack_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"
	"go.yaml.in/yaml/v3"

	"github.com/seatwire/seatwire/pkg/streams"
)

// The objects as NACK's API reference has them (github.com/nats-io/nack, docs/api.md, v1beta2), and what its controller
// makes of them: written from there and not from the mapping, so that one is the judge of the other.
type (
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name   string
			Labels map[string]string
		}
		Spec yaml.Node
	}
	managed struct {
		Account       string
		PreventDelete bool `yaml:"preventDelete"`
	}
	stream struct {
		managed            `yaml:",inline"`
		Name               string
		Subjects           []string
		Retention          string
		MaxBytes           int64         `yaml:"maxBytes"`
		MaxMsgSize         int32         `yaml:"maxMsgSize"`
		MaxMsgsPerSubject  int64         `yaml:"maxMsgsPerSubject"`
		MaxAge             time.Duration `yaml:"maxAge"`
		DuplicateWindow    time.Duration `yaml:"duplicateWindow"`
		Storage            string
		Compression        string
		Discard            string
		DiscardPerSubject  bool `yaml:"discardPerSubject"`
		DenyDelete         bool `yaml:"denyDelete"`
		DenyPurge          bool `yaml:"denyPurge"`
		AllowDirect        bool `yaml:"allowDirect"`
		AllowAtomicPublish bool `yaml:"allowAtomicPublish"`
		Replicas           int
	}
	keyValue struct {
		managed  `yaml:",inline"`
		Bucket   string
		History  uint8
		MaxBytes int64 `yaml:"maxBytes"`
		Storage  string
		Replicas int
	}
	consumer struct {
		managed        `yaml:",inline"`
		StreamName     string        `yaml:"streamName"`
		DurableName    string        `yaml:"durableName"`
		DeliverPolicy  string        `yaml:"deliverPolicy"`
		AckPolicy      string        `yaml:"ackPolicy"`
		AckWait        time.Duration `yaml:"ackWait"`
		ReplayPolicy   string        `yaml:"replayPolicy"`
		MaxDeliver     int           `yaml:"maxDeliver"`
		MaxAckPending  int           `yaml:"maxAckPending"`
		FilterSubject  string        `yaml:"filterSubject"`
		FilterSubjects []string      `yaml:"filterSubjects"`
		Metadata       map[string]string
	}
)

var byName = cmp.Options{
	cmpopts.SortSlices(func(a, b streams.Consumer) bool { return a.Config.Durable < b.Config.Durable }),
}

// declaredBy is the topology that NACK would declare for YAML documents.
func declaredBy(t *testing.T, documents, account string) streams.Topology {
	t.Helper()
	var topology streams.Topology
	for dec := yaml.NewDecoder(strings.NewReader(documents)); ; {
		var o object
		switch err := dec.Decode(&o); {
		case errors.Is(err, io.EOF):
			return topology
		case err != nil:
			t.Fatal(err)
		case o.APIVersion != "jetstream.nats.io/v1beta2":
			t.Fatalf("%s is of %s", o.Metadata.Name, o.APIVersion)
		}
		var m managed
		switch o.Kind {
		case "Stream":
			spec := read[stream](t, o.Spec)
			m, topology.Streams = spec.managed, append(topology.Streams, spec.config(t))
		case "KeyValue":
			spec := read[keyValue](t, o.Spec)
			m, topology.Buckets = spec.managed, append(topology.Buckets, spec.config(t))
		case "Consumer":
			spec := read[consumer](t, o.Spec)
			m, topology.Consumers = spec.managed, append(topology.Consumers, spec.config(t))
		default:
			t.Fatalf("NACK has no %s", o.Kind)
		}
		if !m.PreventDelete || m.Account != account {
			t.Errorf("%s: %+v", o.Metadata.Name, m)
		}
	}
}

// read refuses what the API does not have.
func read[T any](t *testing.T, node yaml.Node) (spec T) {
	t.Helper()
	text, err := yaml.Marshal(&node)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	dec.KnownFields(true)
	if err := dec.Decode(&spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// word reads one of JetStream's enumerations.
func word[T any](t *testing.T, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(`"`+text+`"`), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func (s stream) config(t *testing.T) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, Retention: word[jetstream.RetentionPolicy](t, s.Retention),
		MaxBytes: s.MaxBytes, MaxMsgSize: s.MaxMsgSize, MaxMsgsPerSubject: s.MaxMsgsPerSubject,
		MaxAge: s.MaxAge, Duplicates: s.DuplicateWindow,
		Storage: word[jetstream.StorageType](t, s.Storage), Compression: word[jetstream.StoreCompression](t, s.Compression),
		Discard: word[jetstream.DiscardPolicy](t, s.Discard), DiscardNewPerSubject: s.DiscardPerSubject,
		DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
		AllowDirect: s.AllowDirect, AllowAtomicPublish: s.AllowAtomicPublish, Replicas: s.Replicas,
	}
}

func (k keyValue) config(t *testing.T) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: k.Bucket, History: k.History, MaxBytes: k.MaxBytes, Storage: word[jetstream.StorageType](t, k.Storage), Replicas: k.Replicas,
	}
}

func (c consumer) config(t *testing.T) streams.Consumer {
	return streams.Consumer{Stream: c.StreamName, Config: jetstream.ConsumerConfig{
		Durable: c.DurableName, DeliverPolicy: word[jetstream.DeliverPolicy](t, c.DeliverPolicy),
		AckPolicy: word[jetstream.AckPolicy](t, c.AckPolicy), AckWait: c.AckWait, ReplayPolicy: word[jetstream.ReplayPolicy](t, c.ReplayPolicy),
		MaxDeliver: c.MaxDeliver, MaxAckPending: c.MaxAckPending,
		FilterSubject: c.FilterSubject, FilterSubjects: c.FilterSubjects, Metadata: c.Metadata,
	}}
}

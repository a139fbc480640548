// Package nack says the declared topology as Kubernetes resources for NACK, the JetStream controller, for teams that
// have their streams declared by it. It says everything or fails: what NACK has no word for is never left out silently.
package nack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/seatwire/seatwire/pkg/streams"
)

// Resource is one object of NACK's API.
type Resource struct {
	APIVersion string         `json:"apiVersion" yaml:"apiVersion"`
	Kind       string         `json:"kind"       yaml:"kind"`
	Metadata   Metadata       `json:"metadata"   yaml:"metadata"`
	Spec       map[string]any `json:"spec"       yaml:"spec"`
}

// Metadata is what Kubernetes knows the object by.
type Metadata struct {
	// Name is a DNS subdomain, as RFC 1123 has it.
	Name   string            `json:"name"   yaml:"name"`
	Labels map[string]string `json:"labels" yaml:"labels"`
}

// Resources returns the streams, buckets and consumers of a topology, in its order. account names the NACK Account that
// they are declared through; empty: the controller's own connection. Its error names a setting that NACK cannot carry.
func Resources(t streams.Topology, account string) ([]Resource, error) {
	var all []Resource
	for _, d := range declarations(t) {
		spec, err := d.words.say(d.config)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", d.kind, d.name, err)
		}
		maps.Copy(spec, d.besides)
		// Neither an uninstalled chart nor a deleted namespace may take the data with it.
		spec["preventDelete"] = true
		if account != "" {
			spec["account"] = account
		}
		all = append(all, Resource{
			APIVersion: "jetstream.nats.io/v1beta2",
			Kind:       d.kind,
			Metadata:   Metadata{Name: dnsName(d.name), Labels: map[string]string{"app.kubernetes.io/part-of": "seatwire"}},
			Spec:       spec,
		})
	}
	return all, nil
}

// declaration is one object before it is said: a JetStream configuration, and what stands besides it.
type declaration struct {
	kind, name string
	config     any
	words      vocabulary
	besides    map[string]any
}

func declarations(t streams.Topology) (all []declaration) {
	for _, s := range t.Streams {
		all = append(all, declaration{"Stream", s.Name, s, streamWords, nil})
	}
	for _, b := range t.Buckets {
		// The client's JSON leaves out file storage, its zero.
		storage := map[string]any{"storage": strings.ToLower(b.Storage.String())}
		all = append(all, declaration{"KeyValue", b.Bucket, b, bucketWords, storage})
	}
	for _, c := range t.Consumers {
		// A durable is unique in its stream only, and may end in a hyphen, which an object may not.
		name := c.Config.Durable + "-in-" + c.Stream
		all = append(all, declaration{"Consumer", name, c.Config, consumerWords, map[string]any{"streamName": c.Stream}})
	}
	return all
}

// dnsName turns a JetStream name into a Kubernetes one.
func dnsName(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// vocabulary has NACK's word for each of JetStream's. Values are the same in both, but for durations: nanoseconds there,
// Go's text here.
type vocabulary struct{ words, durations map[string]string }

var (
	streamWords = vocabulary{
		words: map[string]string{
			"name": "name", "description": "description", "subjects": "subjects", "retention": "retention", "storage": "storage",
			"num_replicas": "replicas", "max_consumers": "maxConsumers", "max_msgs": "maxMsgs", "max_bytes": "maxBytes",
			"max_msg_size": "maxMsgSize", "max_msgs_per_subject": "maxMsgsPerSubject", "discard": "discard",
			"discard_new_per_subject": "discardPerSubject", "deny_delete": "denyDelete", "deny_purge": "denyPurge",
			"allow_direct": "allowDirect", "allow_atomic": "allowAtomicPublish", "compression": "compression", "metadata": "metadata",
		},
		durations: map[string]string{"max_age": "maxAge", "duplicate_window": "duplicateWindow"},
	}
	bucketWords = vocabulary{
		words: map[string]string{
			"bucket": "bucket", "description": "description", "history": "history", "max_bytes": "maxBytes",
			"max_value_size": "maxValueSize", "num_replicas": "replicas", "compression": "compression",
		},
		durations: map[string]string{"ttl": "ttl"},
	}
	consumerWords = vocabulary{
		words: map[string]string{
			"durable_name": "durableName", "description": "description", "deliver_policy": "deliverPolicy", "ack_policy": "ackPolicy",
			"replay_policy": "replayPolicy", "max_deliver": "maxDeliver", "max_ack_pending": "maxAckPending", "max_waiting": "maxWaiting",
			"filter_subject": "filterSubject", "filter_subjects": "filterSubjects", "num_replicas": "replicas", "metadata": "metadata",
		},
		durations: map[string]string{"ack_wait": "ackWait"},
	}
)

// say returns a spec that carries every setting of a JetStream configuration, or an error that names the first it cannot.
// A setting at its zero is the broker's to choose, there as here.
func (v vocabulary) say(config any) (map[string]any, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, err
	}
	spec := map[string]any{}
	for name, raw := range settings {
		value, err := decode(raw)
		switch {
		case err != nil:
			return nil, err
		case value == nil:
		case v.words[name] != "":
			spec[v.words[name]] = value
		case v.durations[name] != "":
			spec[v.durations[name]] = time.Duration(value.(int64)).String()
		default:
			return nil, fmt.Errorf("NACK has no word for %s", name)
		}
	}
	return spec, nil
}

// decode returns the value of a JSON text, nil for a zero of any kind.
func decode(raw json.RawMessage) (any, error) {
	switch string(raw) {
	case "0", `""`, "false", "{}", "[]", "null":
		return nil, nil
	}
	var number int64
	if json.Unmarshal(raw, &number) == nil {
		return number, nil
	}
	var value any
	err := json.Unmarshal(raw, &value)
	return value, err
}

// Write prints resources as YAML documents.
func Write(w io.Writer, resources []Resource) error {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, r := range resources {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

package natstest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/natstest"
)

func TestMain(m *testing.M) {
	natstest.ServeIfChild()
	goleak.VerifyTestMain(m)
}

func put(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", nil); err != nil {
		t.Fatal(err)
	}
}

func awaitMessages(t *testing.T, js jetstream.JetStream, want uint64) {
	t.Helper()
	natstest.Eventually(t, 20*time.Second, "the message is there", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "S")
		return err == nil && s.CachedInfo().State.Msgs == want
	})
}

func TestServer_keepsDataAndPortOverARestart(t *testing.T) {
	t.Parallel()
	s := natstest.Run(t)
	js := s.JetStream(t)
	put(t, js, 1)
	s.Restart(t)
	awaitMessages(t, js, 1)
}

func TestProcess_keepsDataOverAKill(t *testing.T) {
	t.Parallel()
	p := natstest.RunProcess(t)
	js := p.JetStream(t)
	put(t, js, 1)
	p.Kill()
	p.Start(t)
	awaitMessages(t, js, 1)
}

func TestCluster_survivesItsLeader(t *testing.T) {
	t.Parallel()
	c := natstest.RunCluster(t)
	js := c.JetStream(t)
	put(t, js, 3)
	leader := c.StreamLeader(t.Context(), js, "S")
	if leader < 0 {
		t.Fatal("the stream has no leader")
	}
	c.Stop(leader)
	awaitMessages(t, js, 1)
	c.Start(t, leader)
}

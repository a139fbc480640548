package seatwire

import "testing"

func TestSync_firstThenUnchangedThenDifference(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1200)
	w.up()

	first := w.sync()
	w.wantOutcome(first, "published", "")
	w.wantSame()
	if n := len(w.licensed()); first.Counts.Added != n || first.Counts.Active != n || first.Counts.Fetched != 1200 {
		t.Errorf("counts %+v, want %d active", first.Counts, n)
	}

	writes := w.productiv.Counts()
	second := w.sync()
	w.wantOutcome(second, "unchanged", "")
	if after := w.productiv.Counts(); after.Posts != writes.Posts || after.Deletes != writes.Deletes {
		t.Errorf("an unchanged roster was written: %+v", after)
	}
}

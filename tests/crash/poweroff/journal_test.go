package poweroff

import (
	"bytes"
	"strings"
	"testing"

	"thinctl/internal/testkit/thinpooltest"
)

func TestJournalReadsBackAndEndsAtTheBlank(t *testing.T) {
	var disk bytes.Buffer
	want := []record{
		{Act: thinpooltest.Act{Client: 2, Op: thinpooltest.ActCreate, Volume: "c2-1", Size: 1 << 20}, State: begun},
		{Act: thinpooltest.Act{Client: 2, Op: thinpooltest.ActCreate, Volume: "c2-1", Size: 1 << 20}, State: acknowledged},
		{Act: thinpooltest.Act{Client: 2, Op: thinpooltest.ActRemove, Volume: "c2-1"}, State: begun},
		{Image: imageAct{Op: actLoad, Name: "image:1", Tree: strings.Repeat("a", 64)}, State: begun},
		{Image: imageAct{Op: actLoad, Name: "image:1", Tree: strings.Repeat("a", 64)}, State: acknowledged},
		{Image: imageAct{Op: actCommit, Name: "image:1", Tree: strings.Repeat("b", 64)}, State: begun},
	}
	for _, r := range want {
		line, err := r.line()
		if err != nil {
			t.Fatal(err)
		}
		disk.Write(line)
		disk.Write(bytes.Repeat([]byte("\n"), sectorSize-len(line)))
	}
	disk.Write(make([]byte, 3*sectorSize))
	got, err := readRecords(&disk)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d records, %v", len(got), err)
	}
	ledger := ledgerOf(got)
	if ledger.Volumes["c2-1"].Size != 1<<20 || ledger.Open[2].Op != thinpooltest.ActRemove {
		t.Errorf("%+v", ledger)
	}
	shelf := shelfOf(got)
	if shelf.trees["image:1"] != strings.Repeat("a", 64) || shelf.open == nil || shelf.open.Op != actCommit ||
		len(shelf.committed) != 1 {
		t.Errorf("%+v", shelf)
	}
}

func TestJournalWithATornRecordIsAnError(t *testing.T) {
	sector := append([]byte(`{"client":1`), make([]byte, sectorSize-11)...)
	if _, err := readRecords(bytes.NewReader(sector)); err == nil {
		t.Error("it was taken")
	}
}

package crash

import "testing"

func TestSectorKnowsItsPlace(t *testing.T) {
	b := make([]byte, sectorSize)
	if value, err := sector(b, 3, 1); err != nil || value != 0 {
		t.Errorf("a sector of zeroes reads %d, %v", value, err)
	}
	putSector(b, 77, 3, 1)
	if value, err := sector(b, 3, 1); err != nil || value != 77 {
		t.Errorf("it reads %d, %v", value, err)
	}
	if _, err := sector(b, 3, 2); err == nil {
		t.Error("another sector's content was taken")
	}
	if _, err := sector(b, 4, 1); err == nil {
		t.Error("another block's content was taken")
	}
	b[300] ^= 1
	if _, err := sector(b, 3, 1); err == nil {
		t.Error("a flipped bit was not seen")
	}
}

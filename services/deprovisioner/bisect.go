package deprovisioner

// bisect finds which of n rows make a file refused. refused says whether a file of just these rows is; the whole file
// is known to be. One bad row costs at most 2·log2(n) questions.
//
// Rows that are fine apart and refused together are not found: then nobody knows which to blame, and all are at fault,
// unless others were found whose removal may be the cure. An error ends the search, and nothing is concluded.
func bisect(n int, refused func(rows []int) (bool, error)) ([]int, error) {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	bad, err := halve(all, refused)
	if err != nil || len(bad) > 0 {
		return bad, err
	}
	return all, nil
}

// halve searches rows that are refused together.
func halve(rows []int, refused func([]int) (bool, error)) (bad []int, err error) {
	if len(rows) <= 1 {
		return rows, nil
	}
	for _, half := range [][]int{rows[:len(rows)/2], rows[len(rows)/2:]} {
		no, err := refused(half)
		if err != nil {
			return nil, err
		}
		if !no {
			continue
		}
		found, err := halve(half, refused)
		if err != nil {
			return nil, err
		}
		bad = append(bad, found...)
	}
	return bad, nil
}

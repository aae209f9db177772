from foreview.tables import print_rows


def test_rows_stand_below_the_names_of_their_own_columns(capsys):
    print_rows("measured", [{"rate": 1}, {"rate": 2}, {"seconds": 3, "what": "a long text " * 9}])
    printed = capsys.readouterr().out
    assert printed.count("rate") == 1
    rate, seconds = printed.split("seconds")
    assert "2" in rate
    assert "3" in seconds
    assert "a long text " * 8 in seconds  # in a file there is room for it

"""One run as one page of HTML: gathered from the record as plain data, drawn by a template, filed whole."""

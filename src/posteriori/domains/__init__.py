"""The sciences: data, problems, scores and studies, one folder each."""

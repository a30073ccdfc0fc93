"""What is run on which encoders and recordings: each study is a function that is declared once (`core.study`)."""

"""The formats of rows, a file for each family; tuning.data.recognise lists them."""

"""What is done to rows before they are checked: one file a rule, `chain` puts them together."""

"""What a configuration would run, and what it will cost, learnt from earlier runs."""

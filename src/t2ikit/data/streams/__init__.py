"""What is fetched while training goes on: files over http(s), and datasets of the Hub."""

"""A fake AWS for tests: moto, with a front that records calls, plays faults and corrects gaps."""

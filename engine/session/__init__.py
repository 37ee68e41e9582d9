"""How does one core live with a stream that never stops? Sessions: shadow, paper, live, and verify."""

"""An autoresearch agent: proposes changes to a training script, runs them jailed, keeps what is better than noise."""

"""Many runs at once, and whether all of them came out as the policy says: `make load`.

Speed is counted here, not judged; what fails is a wrong verdict, an error, or a log that does not verify.
"""

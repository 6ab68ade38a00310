# Inside of a copy of the system: runs what is put into /packages as 1.sh, 2.sh, ..., and leaves what each says and its code.
number=1
while :; do
    until [ -e "/packages/$number.sh" ]; do sleep 0.05; done
    code=0
    sh -e "/packages/$number.sh" >"/packages/$number.out" 2>&1 </dev/null || code=$?
    echo "$code" >"/packages/$number.new"
    mv "/packages/$number.new" "/packages/$number.code"
    number=$((number + 1))
done
